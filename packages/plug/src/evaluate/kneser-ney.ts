// The n-gram baseline: an interpolated language model with modified Kneser–Ney smoothing.
//
// Source: S. F. Chen and J. Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling",
// Harvard TR-10-98 (1998), equations 26–28. With c the counts of `ngram-counts.ts`,
//
//   p(w | h) = max(c(h w) − D(c(h w)), 0) / Σ_v c(h v) + γ(h) p(w | h without its oldest symbol)
//   γ(h)     = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / Σ_v c(h v)
//
// where N_i(h) is how many words follow h with the count i. A context never seen is skipped. Below the
// unigrams stands the uniform distribution 1 / vocabSize, so that every id has a probability above zero.
import { TokenizerError } from '../errors.js';
import { countNgrams, type NgramLevel, type SymbolArray } from './ngram-counts.js';

/** Settings of `trainKneserNey`. */
export interface KneserNeyOptions {
  /** Length of the longest n-gram, the predicted token included; default 5. */
  order?: number;
  /** Ids are 0 … vocabSize − 1; all of them have a probability above zero. */
  vocabSize: number;
}

/** What is subtracted from counts of 1, of 2, and of 3 or more. */
export type Discounts = readonly [one: number, two: number, threeOrMore: number];

/** A trained n-gram language model. */
export interface NgramModel {
  readonly order: number;
  readonly vocabSize: number;
  /** Number of distinct n-grams of order 1, 2, …, `order`. */
  readonly numNgrams: readonly number[];
  /** Discounts of order 1, 2, …, `order`. */
  readonly discounts: readonly Discounts[];
  /**
   * Natural logarithm of p(token | history). The history counts from the beginning of a document: a history
   * shorter than order − 1 means that the document began there; of a longer one the last order − 1 ids
   * matter. `historyLength` takes only that many ids of `history` (default: all).
   * Throws TokenizerError for an id outside the vocabulary.
   */
  logProbability(history: ArrayLike<number>, token: number, historyLength?: number): number;
}

/** Text to score: `target` is predicted id by id, given `context` and the target ids before. */
export interface ScoredSequence {
  context: ArrayLike<number>;
  target: ArrayLike<number>;
}

/**
 * Trains the model. Every document starts after a begin symbol that is a context only; nothing marks the
 * end (append an id of your own to model it). Memory: about 50 bytes a token of diverse text at order 5.
 * Throws CorpusError when there is no token, TokenizerError for an id outside the vocabulary.
 */
export function trainKneserNey(
  documents: Iterable<ArrayLike<number>>,
  { order = 5, vocabSize }: KneserNeyOptions,
): NgramModel {
  const levels = countNgrams(documents, order, vocabSize).map(smoothLevel);
  return {
    order,
    vocabSize,
    numNgrams: levels.map((level) => level.words.length),
    discounts: levels.map((level) => level.discounts),
    logProbability(history, token, historyLength = history.length) {
      checkId(token, vocabSize);
      let probability = 1 / vocabSize;
      let context = 0;
      for (let length = 0; ; length++) {
        const level = levels[length]!;
        const found = find(level.words, level.wordStart[context]!, level.wordStart[context + 1]!, token);
        const count = found < 0 ? 0 : level.counts[found]!;
        const kept = count === 0 ? 0 : count - level.discounts[Math.min(count, 3) - 1]!;
        probability = kept / level.totals[context]! + level.backoff[context]! * probability;
        const older = historyLength - 1 - length;
        if (length === order - 1 || older < -1) break;
        if (older >= 0) checkId(history[older]!, vocabSize);
        const symbol = older >= 0 ? history[older]! : vocabSize;
        const { contextSymbols } = levels[length + 1]!;
        context = find(contextSymbols, level.childStart[context]!, level.childStart[context + 1]!, symbol);
        if (context < 0) break;
      }
      return Math.log(probability);
    },
  };
}

/** Mean of −log2 p over all target ids of all sequences, or NaN when there is no target id. */
export function bitsPerToken(model: NgramModel, sequences: Iterable<ScoredSequence>): number {
  let bits = 0;
  let tokens = 0;
  for (const { context, target } of sequences) {
    const ids = new Uint32Array(context.length + target.length);
    ids.set(context);
    ids.set(target, context.length);
    for (let i = context.length; i < ids.length; i++)
      bits -= model.logProbability(ids, ids[i]!, i) / Math.LN2;
    tokens += target.length;
  }
  return bits / tokens;
}

/**
 * Discounts from how many n-grams have the count 1, 2, 3 and 4 (Chen & Goodman 1998, equation 26):
 * Y = n1 / (n1 + 2 n2), D_i = i − (i + 1) Y n_(i+1) / n_i. Counts of counts too few or too odd to give
 * 0 < D_i ≤ i yield the fixed 0.5, 1, 1.5, halfway between no discount and the full one.
 */
export function modifiedDiscounts(n1: number, n2: number, n3: number, n4: number): Discounts {
  const y = n1 / (n1 + 2 * n2);
  const discounts: Discounts = [1 - (2 * y * n2) / n1, 2 - (3 * y * n3) / n2, 3 - (4 * y * n4) / n3];
  const usable = n4 > 0 && discounts.every((discount, i) => discount > 0 && discount <= i + 1);
  return usable ? discounts : [0.5, 1, 1.5];
}

interface SmoothedLevel extends NgramLevel {
  readonly discounts: Discounts;
  /** Σ_v c(h v) of each context. */
  readonly totals: Uint32Array;
  /** γ(h) of each context. */
  readonly backoff: Float64Array;
}

function smoothLevel(level: NgramLevel): SmoothedLevel {
  const { counts, wordStart } = level;
  const countsOfCounts = new Float64Array(5);
  for (let i = 0; i < counts.length; i++) if (counts[i]! <= 4) countsOfCounts[counts[i]!]!++;
  const [, n1, n2, n3, n4] = countsOfCounts;
  const discounts = modifiedDiscounts(n1!, n2!, n3!, n4!);
  const numContexts = level.contextSymbols.length;
  const totals = new Uint32Array(numContexts);
  const backoff = new Float64Array(numContexts);
  for (let context = 0; context < numContexts; context++) {
    let total = 0;
    let discounted = 0;
    for (let i = wordStart[context]!; i < wordStart[context + 1]!; i++) {
      total += counts[i]!;
      discounted += discounts[Math.min(counts[i]!, 3) - 1]!;
    }
    totals[context] = total;
    backoff[context] = discounted / total;
  }
  return { ...level, discounts, totals, backoff };
}

/** Binary search in sorted[start … end − 1]; −1 when absent. */
function find(sorted: SymbolArray, start: number, end: number, symbol: number): number {
  let low = start;
  let high = end - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const value = sorted[middle]!;
    if (value === symbol) return middle;
    if (value < symbol) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

function checkId(id: number, vocabSize: number): void {
  if (!(Number.isInteger(id) && id >= 0 && id < vocabSize)) {
    throw new TokenizerError(`Id ${id} is outside the n-gram model's vocabulary of ${vocabSize} ids.`);
  }
}
