// For the tests of this folder only: statistical checks and small corpora. The seeds are fixed, so a check
// either always passes or always fails; the thresholds are so far out (p of about 1e-6) that a sound sampler
// passes.
import assert from 'node:assert/strict';
import { keyedRandom } from '../../random.js';
import type { CorpusView, VocabularyView } from './corpus-view.js';

export const sigmas = 5;

/** Fails unless `successes` of `trials` is within 5 standard errors of the proportion `expected`. */
export function assertProportion(successes: number, trials: number, expected: number, what: string): void {
  const standardError = Math.sqrt((expected * (1 - expected)) / trials);
  const z = (successes / trials - expected) / standardError;
  assert.ok(
    Math.abs(z) < sigmas,
    `${what}: ${successes} of ${trials} = ${successes / trials}, expected ${expected}, z = ${z.toFixed(2)}`,
  );
}

/**
 * Chi-square against equal counts: fails from 6 standard deviations above its mean (mean df, variance 2 df); not
 * 5, because its upper tail is heavier than the normal one.
 */
export function assertUniform(counts: ArrayLike<number>, what: string): void {
  const all = Array.from(counts);
  const expected = all.reduce((sum, count) => sum + count, 0) / all.length;
  assert.ok(expected >= 20, `${what}: only ${expected} a cell`);
  const chiSquare = all.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const df = all.length - 1;
  const z = (chiSquare - df) / Math.sqrt(2 * df);
  assert.ok(
    z < sigmas + 1,
    `${what}: chi-square ${chiSquare.toFixed(1)} on ${df} degrees, z = ${z.toFixed(2)}`,
  );
}

/** Kolmogorov–Smirnov against the uniform law on the integers lowest..highest; threshold p < 1e-6. */
export function assertUniformIntegers(
  values: readonly number[],
  lowest: number,
  highest: number,
  what: string,
): void {
  const counts = new Float64Array(highest - lowest + 1);
  for (const value of values) {
    assert.ok(value >= lowest && value <= highest, `${what}: ${value} lies outside ${lowest}..${highest}`);
    counts[value - lowest]!++;
  }
  let below = 0;
  let distance = 0;
  for (let i = 0; i < counts.length; i++) {
    below += counts[i]!;
    distance = Math.max(distance, Math.abs(below / values.length - (i + 1) / counts.length));
  }
  const threshold = Math.sqrt(Math.log(2 / 1e-6) / 2 / values.length);
  assert.ok(
    distance < threshold,
    `${what}: KS distance ${distance.toFixed(4)}, threshold ${threshold.toFixed(4)}`,
  );
}

export const vocabulary: VocabularyView = {
  vocabSize: 21128,
  special: { pad: 0, unk: 100, cls: 101, sep: 102, mask: 103 },
};

export interface TestCorpus extends CorpusView {
  readonly tokens: Uint32Array[];
}

/** Documents given as the lengths of their sentences, with random ordinary tokens. */
export function corpusOfLengths(documents: number[][]): TestCorpus {
  const random = keyedRandom(4242);
  return corpusFrom(
    documents.map((sentences) =>
      sentences.map((length) => Array.from({ length }, () => random.integer(104, vocabulary.vocabSize - 1))),
    ),
  );
}

/** Every token is different, so that a piece of text says where it came from. */
export function corpusOfDistinctTokens(documents: number[][]): TestCorpus {
  let next = 1000;
  return corpusFrom(
    documents.map((sentences) => sentences.map((length) => Array.from({ length }, () => next++))),
  );
}

/** Documents given as sentences of ids. */
export function corpusFrom(documents: number[][][]): TestCorpus {
  const tokens = documents.map((sentences) => Uint32Array.from(sentences.flat()));
  const starts = documents.map((sentences) => {
    let start = 0;
    return Uint32Array.from(sentences, (sentence) => {
      start += sentence.length;
      return start - sentence.length;
    });
  });
  return {
    numDocuments: documents.length,
    tokens,
    documentLength: (i) => tokens[i]!.length,
    document: (i) => ({ tokens: tokens[i]!, sentenceStarts: starts[i]! }),
  };
}

/** `count` documents of `sentences` sentences of 5 to 40 tokens. */
export function randomCorpus(count: number, sentences: number, seed = 1): TestCorpus {
  const random = keyedRandom(seed, 99);
  return corpusOfLengths(
    Array.from({ length: count }, () => Array.from({ length: sentences }, () => random.integer(5, 40))),
  );
}
