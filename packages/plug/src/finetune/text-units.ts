// Tokens with the characters that they stand for: what an answer inside a text needs.
import type { Tokenizer } from '../text/index.js';

/** A text in tokens. */
export interface LocatedTokens {
  ids: Int32Array;
  /** Where the unit (a character, or a word without spaces) of each token begins in the text, in UTF-16 units. */
  starts: Int32Array;
  /** Where it ends. */
  ends: Int32Array;
}

/** Words of other scripts than Han in one piece, as they have pieces in common; all else by code point. */
const unit = /(?:(?!\p{Script=Han})[\p{L}\p{M}\p{N}])+|./gsu;

/** Encodes unit by unit: the ids are those of the whole text, but where it has invisible characters inside a word. */
export function locatedTokens(tokenizer: Tokenizer, text: string): LocatedTokens {
  const [ids, starts, ends]: [number[], number[], number[]] = [[], [], []];
  for (const { 0: piece, index } of text.matchAll(unit))
    for (const id of tokenizer.encode(piece, { splitSpecialTokens: true })) {
      ids.push(id);
      starts.push(index);
      ends.push(index + piece.length);
    }
  return { ids: Int32Array.from(ids), starts: Int32Array.from(starts), ends: Int32Array.from(ends) };
}

/** Tokens that overlap a range of the text; undefined when there are none. */
export function tokensWithin(
  { starts, ends }: LocatedTokens,
  from: number,
  to: number,
): { first: number; last: number } | undefined {
  const first = ends.findIndex((end) => end > from);
  const last = starts.findLastIndex((start) => start < to);
  return first >= 0 && first <= last ? { first, last } : undefined;
}
