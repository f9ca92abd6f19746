// What the sides of the decoding benchmark are given.
import { keyedRandom } from '../openplug.js';
import { type Shape, special } from '../shapes.js';

/** Numbers that weights are multiplied in: fp32, bf16 (activations too), or int8 with a scale for each row. */
export const precisions = ['float32', 'bfloat16', 'int8'] as const;
export type Precision = (typeof precisions)[number];

export interface DecodeCase {
  precision: Precision;
  /** [CLS] … [SEP] of each text of the batch. */
  prompts: number[][];
  /** Tokens that each text gets, exactly. */
  newTokens: number;
  endId: number;
  /** Never written: special tokens; the end token too, so that all texts are equally long. */
  forbiddenIds: number[];
}

const shortestPrompt = 16;

/**
 * Prompts of random tokens. One alone is `promptLength` long; several are spread evenly from the shortest, 16 (or
 * half of the longest, if that is less), to the longest, in random order.
 */
export function promptsOf(shape: Shape, count: number, seed: number): number[][] {
  const random = keyedRandom(seed, count);
  const longest = shape.promptLength;
  const shortest = count === 1 ? longest : Math.min(shortestPrompt, longest >> 1);
  const lengths = Int32Array.from({ length: count }, (_, index) =>
    Math.round(longest - ((longest - shortest) * index) / Math.max(1, count - 1)),
  );
  random.shuffle(lengths);
  const token = (): number => random.integer(special.mask + 1, shape.config.originalVocabSize - 1);
  return Array.from(lengths, (length) => [
    special.cls,
    ...Array.from({ length: length - 2 }, token),
    special.sep,
  ]);
}

/**
 * Bytes of weights that writing one token of each text reads: all decoder matrices but the key/value projection of
 * cross-attention, which runs once for each prompt, and the output embedding.
 */
export function bytesPerStep(shape: Shape, precision: Precision): number {
  const { hiddenSize: e, intermediateSize: f, vocabSize, decHiddenLayers } = shape.config;
  const weights = decHiddenLayers * (6 * e * e + 2 * e * f) + vocabSize * e;
  return weights * { float32: 4, bfloat16: 2, int8: 1 }[precision];
}
