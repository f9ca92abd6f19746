// Scores of generated Chinese text against references, by character: BLEU, ROUGE, and variety (Distinct).
//
// Characters are Unicode code points; white space is left out, since Chinese text has none that matters.
import { ConfigError } from '../errors.js';

/** Generated texts, with one or several right texts for each. */
export interface GenerationPair {
  candidate: string;
  references: readonly string[];
}

/**
 * Corpus BLEU-4 in [0, 1] (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine
 * translation"): BP · exp(¼ Σ_n ln p_n), where p_n is the share of the candidates' n-grams that occur in a
 * reference, each at most as often as in the reference that has it most often, and
 * BP = min(1, exp(1 − r / c)) with c the candidates' length and r that of the references closest in length
 * (the shorter of equals). No smoothing: without any common 4-gram it is 0.
 * Throws ConfigError when a pair has no reference.
 */
export function characterBleu(pairs: readonly GenerationPair[]): number {
  const matches = [0, 0, 0, 0];
  const totals = [0, 0, 0, 0];
  let candidateLength = 0;
  let referenceLength = 0;
  for (const { candidate, references } of pairs) {
    const characters = charactersOf(candidate);
    const targets = references.map(charactersOf);
    if (targets.length === 0) throw new ConfigError('BLEU needs at least one reference for every candidate.');
    candidateLength += characters.length;
    referenceLength += closestLength(targets, characters.length);
    for (let n = 1; n <= 4; n++) {
      const limits = new Map<string, number>();
      for (const target of targets) {
        for (const [gram, count] of countGrams(target, n)) {
          limits.set(gram, Math.max(count, limits.get(gram) ?? 0));
        }
      }
      for (const [gram, count] of countGrams(characters, n)) {
        matches[n - 1]! += Math.min(count, limits.get(gram) ?? 0);
        totals[n - 1]! += count;
      }
    }
  }
  if (matches.includes(0)) return 0;
  const meanLogPrecision = matches.reduce((sum, match, i) => sum + Math.log(match / totals[i]!), 0) / 4;
  return Math.min(1, Math.exp(1 - referenceLength / candidateLength)) * Math.exp(meanLogPrecision);
}

/** Means over the pairs, in [0, 1]. */
export interface RougeScores {
  rouge1: number;
  rouge2: number;
  rougeL: number;
}

/**
 * Character ROUGE F1 (C.-Y. Lin 2004, "ROUGE: a package for automatic evaluation of summaries"), the mean
 * over pairs of 2 P R / (P + R). For ROUGE-n, P and R are the common n-grams (clipped) over the candidate's
 * and the reference's n-grams; for ROUGE-L the longest common subsequence over their lengths. With several
 * references the best one counts, for each score by itself. Two empty texts score 0.
 * Throws ConfigError without pairs or when a pair has no reference.
 */
export function characterRouge(pairs: readonly GenerationPair[]): RougeScores {
  const sums = { rouge1: 0, rouge2: 0, rougeL: 0 };
  for (const { candidate, references } of pairs) {
    if (references.length === 0)
      throw new ConfigError('ROUGE needs at least one reference for every candidate.');
    const characters = charactersOf(candidate);
    const targets = references.map(charactersOf);
    sums.rouge1 += Math.max(...targets.map((target) => gramF1(characters, target, 1)));
    sums.rouge2 += Math.max(...targets.map((target) => gramF1(characters, target, 2)));
    sums.rougeL += Math.max(...targets.map((target) => subsequenceF1(characters, target)));
  }
  if (pairs.length === 0) throw new ConfigError('ROUGE needs at least one pair of texts, got none.');
  const { rouge1, rouge2, rougeL } = sums;
  return { rouge1: rouge1 / pairs.length, rouge2: rouge2 / pairs.length, rougeL: rougeL / pairs.length };
}

/**
 * Distinct-n (J. Li et al. 2016, "A diversity-promoting objective function for neural conversation
 * models"): number of different n-grams in all texts / number of n-grams; NaN when there is no n-gram.
 */
export function distinct(texts: readonly string[], n: number): number {
  const seen = new Set<string>();
  let total = 0;
  for (const text of texts) {
    for (const [gram, count] of countGrams(charactersOf(text), n)) {
      seen.add(gram);
      total += count;
    }
  }
  return seen.size / total;
}

/** The code points of a text without white space. */
export function charactersOf(text: string): string[] {
  return [...text.replace(/\s+/gu, '')];
}

function countGrams(characters: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let start = 0; start + n <= characters.length; start++) {
    const gram = characters.slice(start, start + n).join('');
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

function closestLength(targets: readonly string[][], length: number): number {
  let closest = targets[0]!.length;
  for (const target of targets) {
    const gap = Math.abs(target.length - length) - Math.abs(closest - length);
    if (gap < 0 || (gap === 0 && target.length < closest)) closest = target.length;
  }
  return closest;
}

function gramF1(candidate: readonly string[], reference: readonly string[], n: number): number {
  const limits = countGrams(reference, n);
  let common = 0;
  for (const [gram, count] of countGrams(candidate, n)) common += Math.min(count, limits.get(gram) ?? 0);
  return f1(common, Math.max(0, candidate.length - n + 1), Math.max(0, reference.length - n + 1));
}

function subsequenceF1(candidate: readonly string[], reference: readonly string[]): number {
  // One row of the usual table: best[j] is the longest common subsequence with the first j of the reference.
  const best = new Uint32Array(reference.length + 1);
  for (const character of candidate) {
    let diagonal = 0;
    for (let j = 1; j <= reference.length; j++) {
      const above = best[j]!;
      best[j] = character === reference[j - 1] ? diagonal + 1 : Math.max(above, best[j - 1]!);
      diagonal = above;
    }
  }
  return f1(best[reference.length]!, candidate.length, reference.length);
}

function f1(common: number, inCandidate: number, inReference: number): number {
  return common === 0 ? 0 : (2 * common) / (inCandidate + inReference); // equals 2 P R / (P + R)
}
