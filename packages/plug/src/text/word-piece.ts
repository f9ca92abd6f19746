// WordPiece: a word is cut from the left into the longest pieces that the vocabulary holds (Wu et al. 2016,
// arXiv 1609.08144; the greedy search of BERT).

/** The mark of a piece that does not start a word. */
export const CONTINUATION = '##';

// Longer words are unknown: BERT's own limit, in code points.
const MAX_CHARACTERS_PER_WORD = 100;

/** Cuts words into the ids of a vocabulary. */
export class WordPiece {
  readonly #ids: ReadonlyMap<string, number>;
  readonly #unknownId: number;
  // No piece can be longer than this, in code points, which keeps the search linear in the word's length.
  readonly #longestPiece: number;

  constructor(ids: ReadonlyMap<string, number>, unknownId: number) {
    this.#ids = ids;
    this.#unknownId = unknownId;
    let longest = 1;
    for (const token of ids.keys()) longest = Math.max(longest, token.length);
    this.#longestPiece = longest;
  }

  /** The ids of one word: its pieces, or the unknown id alone when some part is in no piece. */
  encode(word: string): number[] {
    // Word boundaries in UTF-16 units, so that no piece ends inside a surrogate pair.
    const boundaries = [0];
    for (const character of word) boundaries.push((boundaries.at(-1) as number) + character.length);
    const length = boundaries.length - 1;
    if (length > MAX_CHARACTERS_PER_WORD) return [this.#unknownId];
    const pieces: number[] = [];
    for (let start = 0; start < length; ) {
      let end = Math.min(length, start + this.#longestPiece);
      let id: number | undefined;
      for (; end > start; end--) {
        const piece = word.slice(boundaries[start], boundaries[end]);
        id = this.#ids.get(start === 0 ? piece : CONTINUATION + piece);
        if (id !== undefined) break;
      }
      if (id === undefined) return [this.#unknownId];
      pieces.push(id);
      start = end;
    }
    return pieces;
  }
}
