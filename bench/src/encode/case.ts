// What the sides of the encoding benchmark are given, and how texts are put into batches.
import type { Precision } from '../decode/case.js';
import { keyedRandom } from '../openplug.js';
import { type Shape, special } from '../shapes.js';

export interface EncodeCase {
  precision: Precision;
  /** [CLS] … [SEP] of each text, in the order in which they came. */
  texts: number[][];
  /** Texts in a batch of the peers. */
  batch: number;
}

/** Texts of random tokens, lengths uniform from 16 to what the model can hold, at most 512. */
export function textsOf(shape: Shape, count: number, seed: number): number[][] {
  const random = keyedRandom(seed, count);
  const longest = Math.min(512, shape.config.maxPositionEmbeddings);
  const token = (): number => random.integer(special.mask + 1, shape.config.originalVocabSize - 1);
  return Array.from({ length: count }, () => {
    const inner = random.integer(16, longest) - 2;
    return [special.cls, ...Array.from({ length: inner }, token), special.sep];
  });
}

/** Indices of texts in batches of similar length, longest first, each of at most `budget` tokens (or one text). */
export function tokenBatches(lengths: readonly number[], budget: number): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: number[][] = [];
  let room = 0;
  for (const index of order) {
    if (lengths[index]! > room) {
      batches.push([]);
      room = budget;
    }
    batches.at(-1)!.push(index);
    room -= lengths[index]!;
  }
  return batches;
}

/** Indices of texts in batches of `size`: as they came, or by length. */
export function countBatches(lengths: readonly number[], size: number, isSorted: boolean): number[][] {
  const order = lengths.map((_, index) => index);
  if (isSorted) order.sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  return Array.from({ length: Math.ceil(order.length / size) }, (_, batch) =>
    order.slice(batch * size, (batch + 1) * size),
  );
}
