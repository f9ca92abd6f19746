// Examples to token ids, within the model's window.
import type { Stage2Sample } from '../pretrain/samples/index.js';
import type { Tokenizer } from '../text/index.js';
import type { GenerationExample } from './examples.js';

/** A text, or a pair, ready for the encoder. */
export interface EncodedText {
  /** [CLS] A [SEP], or [CLS] A [SEP] B [SEP]. */
  inputIds: Int32Array;
  /** 0 up to and including the first [SEP], 1 after it. */
  tokenTypeIds: Uint8Array;
  /** Whether text was cut off. */
  truncated: boolean;
}

/**
 * @param maxLength tokens at most, special ones included; of a pair the longer text is cut first, at its end
 */
export function encodeText(
  tokenizer: Tokenizer,
  { text, textPair }: { text: string; textPair?: string | undefined },
  maxLength: number,
): EncodedText {
  const pair = textPair === undefined ? undefined : encodePlain(tokenizer, textPair);
  return joinTexts(tokenizer, encodePlain(tokenizer, text), pair, maxLength);
}

/** `encodeText` of texts that are ids already. */
export function joinTexts(
  { special: { cls, sep } }: Tokenizer,
  first: Int32Array,
  second: Int32Array | undefined,
  maxLength: number,
): EncodedText {
  if (second === undefined) {
    const kept = first.subarray(0, maxLength - 2);
    const inputIds = Int32Array.of(cls, ...kept, sep);
    return { inputIds, tokenTypeIds: new Uint8Array(inputIds.length), truncated: kept.length < first.length };
  }
  const [keepFirst, keepSecond] = longestFirst(first.length, second.length, maxLength - 3);
  const inputIds = Int32Array.of(
    cls,
    ...first.subarray(0, keepFirst),
    sep,
    ...second.subarray(0, keepSecond),
    sep,
  );
  const tokenTypeIds = new Uint8Array(inputIds.length).fill(1, keepFirst + 2);
  return { inputIds, tokenTypeIds, truncated: keepFirst + keepSecond < first.length + second.length };
}

/** Lengths after taking tokens, one at a time, from the longer of two texts (the second when they are equal). */
export function longestFirst(first: number, second: number, budget: number): [first: number, second: number] {
  if (first + second <= budget) return [first, second];
  const keepFirst = Math.min(first, Math.max(budget - second, Math.ceil(budget / 2)));
  return [keepFirst, budget - keepFirst];
}

/** A source and a target ready for the model. */
export interface EncodedTarget extends Stage2Sample {
  truncated: boolean;
}

/**
 * [CLS] source [SEP] for the encoder, with the model's prompt vectors after [CLS]; [CLS] target for the decoder, which is to write target [SEP]. A target that
 * is cut off gets no [SEP]: the model is not told that a text ends where it does not.
 * @param maxLength of the source, special tokens and prompt vectors included
 * @param maxTargetLength decoder inputs at most
 * @param vectors what stands for the prompt vectors (`promptIds`)
 */
export function encodeTarget(
  tokenizer: Tokenizer,
  { source, target }: GenerationExample,
  maxLength: number,
  maxTargetLength: number,
  vectors: readonly number[] = [],
): EncodedTarget {
  const { cls, sep } = tokenizer.special;
  const { inputIds, truncated } = encodeText(tokenizer, { text: source }, maxLength - vectors.length);
  const sourceIds = Int32Array.of(cls, ...vectors, ...inputIds.subarray(1));
  const written = Int32Array.of(...encodePlain(tokenizer, target), sep);
  const targetIds = written.slice(0, maxTargetLength);
  return {
    sourceIds,
    labelPositions: new Int32Array(0),
    labels: new Int32Array(0),
    decoderInputIds: Int32Array.of(cls, ...targetIds.subarray(0, -1)),
    targetIds,
    truncated: truncated || targetIds.length < written.length,
  };
}

/** Data is no markup: a `[SEP]` spelled out in a text is text. */
function encodePlain(tokenizer: Tokenizer, text: string): Int32Array {
  return tokenizer.encode(text, { splitSpecialTokens: true });
}
