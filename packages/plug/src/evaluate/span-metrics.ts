// Scores of answers found in a Chinese text, as CMRC2018 defines them (Cui et al. 2019, arXiv 1810.07366).
import { ConfigError } from '../errors.js';

/** An answer that was given, with all that count as right. */
export interface SpanPair {
  prediction: string;
  answers: readonly string[];
}

/** Means over the questions, in [0, 1], the best of a question's answers counting. */
export interface SpanAccuracy {
  /** Share of predictions that equal an answer, without punctuation. */
  exactMatch: number;
  /** 2 P R / (P + R) of the longest run of characters that prediction and answer share. */
  f1: number;
}

/** Left out by both measures: the list of the official script, in which the ellipsis is two characters and never met. */
const punctuation = new Set('-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』');

const han = /[\u4e00-\u9fa5]/u;

/** @throws ConfigError without pairs, or for a pair without answers */
export function spanAccuracy(pairs: readonly SpanPair[]): SpanAccuracy {
  if (pairs.length === 0) throw new ConfigError('Span scores need at least one question, got none.');
  let [exact, f1] = [0, 0];
  for (const pair of pairs) {
    const scores = spanScores(pair);
    exact += scores.exactMatch;
    f1 += scores.f1;
  }
  return { exactMatch: exact / pairs.length, f1: f1 / pairs.length };
}

/** Of one question. @throws ConfigError without answers */
export function spanScores({ prediction, answers }: SpanPair): SpanAccuracy {
  if (answers.length === 0) throw new ConfigError('Span scores need at least one answer for every question.');
  const plain = withoutPunctuation(prediction);
  return {
    exactMatch: answers.some((answer) => withoutPunctuation(answer) === plain) ? 1 : 0,
    f1: Math.max(...answers.map((answer) => overlap(unitsOf(prediction), unitsOf(answer)))),
  };
}

function withoutPunctuation(text: string): string {
  return [...text.toLowerCase().trim()].filter((character) => !punctuation.has(character)).join('');
}

/** Han characters one by one, other words whole. */
function unitsOf(text: string): string[] {
  const units: string[] = [];
  let run = '';
  const flush = (): void => {
    units.push(...wordsOf(run));
    run = '';
  };
  for (const character of text.toLowerCase().trim()) {
    if (punctuation.has(character)) continue;
    if (!han.test(character)) {
      run += character;
      continue;
    }
    flush();
    units.push(character);
  }
  flush();
  return units;
}

/** As the script's tokenizer (nltk's Treebank rules) divides what is not Han: 1,000.5 is one word. */
function wordsOf(run: string): string[] {
  const spaced = run
    .replace(/,(?!\d)/g, ' , ')
    .replace(/[;@#$%&?!()[\]{}<>"]/g, ' $& ')
    .replace(/([^.])\.\s*$/, '$1 .');
  return spaced.split(/\s+/u).filter((word) => word !== '');
}

function overlap(one: readonly string[], other: readonly string[]): number {
  const shared = longestCommonRun(one, other);
  return shared === 0 ? 0 : (2 * shared) / (one.length + other.length); // equals 2 P R / (P + R)
}

function longestCommonRun(one: readonly string[], other: readonly string[]): number {
  let longest = 0;
  let above = new Int32Array(other.length + 1);
  for (const unit of one) {
    const row = new Int32Array(other.length + 1);
    for (const [index, candidate] of other.entries())
      if (unit === candidate) {
        row[index + 1] = above[index]! + 1;
        longest = Math.max(longest, row[index + 1]!);
      }
    above = row;
  }
  return longest;
}
