// Scores of predictions and of language models: accuracy and its error, paired comparison, macro F1,
// perplexity and bits per character. Scores of generated text are in `text-metrics.ts`.
import { ConfigError } from '../errors.js';

/** A share of right answers with the uncertainty that comes from the number of examples. */
export interface Accuracy {
  /** Right answers / examples, in [0, 1]. */
  accuracy: number;
  /** √(p (1 − p) / n), the standard error of a binomial share. */
  standardError: number;
  numExamples: number;
}

/** Throws ConfigError when the lists differ in length or are empty. */
export function accuracy(predictions: ArrayLike<number>, labels: ArrayLike<number>): Accuracy {
  checkPaired('predictions', predictions, 'labels', labels);
  const n = labels.length;
  let right = 0;
  for (let i = 0; i < n; i++) if (predictions[i] === labels[i]) right++;
  const share = right / n;
  return { accuracy: share, standardError: Math.sqrt((share * (1 - share)) / n), numExamples: n };
}

/** Accuracy of always answering the class that is most frequent in `trainLabels` (the lowest of equals). */
export function majorityAccuracy(trainLabels: ArrayLike<number>, labels: ArrayLike<number>): Accuracy {
  const counts = new Map<number, number>();
  for (let i = 0; i < trainLabels.length; i++) {
    counts.set(trainLabels[i]!, (counts.get(trainLabels[i]!) ?? 0) + 1);
  }
  const [majority] = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0] ?? [Number.NaN];
  return accuracy(new Float64Array(labels.length).fill(majority), labels);
}

/** Comparison of two systems on the same examples. */
export interface PairedComparison {
  /** Accuracy of the first minus accuracy of the second. */
  difference: number;
  /** √(b + c − (b − c)² / n) / n, with b and c the examples that only one of them has right. */
  standardError: number;
  /** How many only the first, and only the second, has right. */
  onlyFirst: number;
  onlySecond: number;
  /** Exact two-sided McNemar test: chance of a split as uneven as b : c if both were equally good. */
  pValue: number;
}

/**
 * McNemar's paired comparison (Q. McNemar 1947, "Note on the sampling error of the difference between
 * correlated proportions or percentages"), the exact form by the binomial distribution with p = ½.
 * Throws ConfigError when the lists differ in length or are empty.
 */
export function comparePaired(
  first: ArrayLike<number>,
  second: ArrayLike<number>,
  labels: ArrayLike<number>,
): PairedComparison {
  checkPaired('first', first, 'labels', labels);
  checkPaired('second', second, 'labels', labels);
  const n = labels.length;
  let onlyFirst = 0;
  let onlySecond = 0;
  for (let i = 0; i < n; i++) {
    const firstRight = first[i] === labels[i];
    if (firstRight === (second[i] === labels[i])) continue;
    if (firstRight) onlyFirst++;
    else onlySecond++;
  }
  const discordant = onlyFirst + onlySecond;
  const gap = onlyFirst - onlySecond;
  return {
    difference: gap / n,
    standardError: Math.sqrt(discordant - (gap * gap) / n) / n,
    onlyFirst,
    onlySecond,
    pValue: Math.min(1, 2 * binomialTail(discordant, Math.min(onlyFirst, onlySecond))),
  };
}

/**
 * Unweighted mean over classes of F1 = 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979, "Information
 * Retrieval", ch. 7). A class that is neither labelled nor predicted does not count.
 */
export function macroF1(predictions: ArrayLike<number>, labels: ArrayLike<number>): number {
  checkPaired('predictions', predictions, 'labels', labels);
  const classes = new Map<number, { hits: number; mentions: number }>();
  const of = (label: number) => {
    const known = classes.get(label) ?? { hits: 0, mentions: 0 };
    classes.set(label, known);
    return known;
  };
  for (let i = 0; i < labels.length; i++) {
    of(labels[i]!).mentions++;
    of(predictions[i]!).mentions++;
    if (predictions[i] === labels[i]) of(labels[i]!).hits++;
  }
  let sum = 0;
  for (const { hits, mentions } of classes.values()) sum += (2 * hits) / mentions;
  return sum / classes.size;
}

/** exp of the mean negative log-likelihood in nats per token. */
export function perplexity(totalNats: number, numTokens: number): number {
  return Math.exp(totalNats / numTokens);
}

/**
 * Negative log-likelihood in nats, spread over the characters (code points) that the text has, in bits:
 * nats / ln 2 / characters. It compares models whose tokens differ, because the divisor is the text's.
 */
export function bitsPerCharacter(totalNats: number, numCharacters: number): number {
  return totalNats / Math.LN2 / numCharacters;
}

/** P(X ≤ k) for X ~ Binomial(n, ½), by terms relative to the k-th, so that no large n overflows. */
function binomialTail(n: number, k: number): number {
  let logTerm = -n * Math.LN2; // ln of C(n, 0) / 2^n
  for (let i = 1; i <= k; i++) logTerm += Math.log((n - i + 1) / i);
  let sum = 0;
  for (let i = k, relative = 1; i >= 0 && relative > 1e-17; i--) {
    sum += relative;
    relative *= i / (n - i + 1);
  }
  return Math.exp(logTerm) * sum;
}

function checkPaired(
  oneName: string,
  one: ArrayLike<number>,
  otherName: string,
  other: ArrayLike<number>,
): void {
  if (one.length !== other.length || one.length === 0) {
    throw new ConfigError(
      `${oneName} and ${otherName} must have one entry an example: got ${one.length} and ${other.length}.`,
    );
  }
}
