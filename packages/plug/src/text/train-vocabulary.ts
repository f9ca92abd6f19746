// Trains a WordPiece vocabulary from a corpus: special tokens, then every character that is frequent enough,
// then pieces of longer words made by merging the most frequent neighbours (byte-pair style, Sennrich et al.
// 2016, arXiv 1508.07909). In Chinese nearly all of it is characters: each ideograph is a word of its own.
import { ConfigError } from '../errors.js';
import { BertNormalizer, type NormalizationOptions } from './bert-normalizer.js';
import { mergePieces } from './piece-merges.js';
import { SPECIAL_TOKENS } from './tokenizer.js';
import { compareByCodePoint } from './unicode-properties.js';
import { CONTINUATION } from './word-piece.js';

export interface TrainVocabularyOptions extends NormalizationOptions {
  /** Most entries that the vocabulary may have, special tokens included. */
  vocabSize: number;
  /** How often a character or piece must occur to be taken. Default 1. */
  minFrequency?: number;
  /** What comes first, in this order. Default [PAD], [UNK], [CLS], [SEP], [MASK]. */
  specialTokens?: readonly string[];
}

// Words past the length that WordPiece reads are unknown anyway; most are not language.
const MAX_WORD_LENGTH = 100;

/**
 * The tokens in id order: special tokens; characters (as the start of a word, or as `##` continuation) by
 * falling frequency; merged pieces by falling frequency. The result does not depend on the order of the
 * texts: equal frequencies are ordered by code point. It has fewer than `vocabSize` entries when the corpus
 * has no more pieces of that frequency.
 *
 * @throws ConfigError when vocabSize leaves no room beside the special tokens, or minFrequency is below 1.
 */
export function trainVocabulary(texts: Iterable<string>, options: TrainVocabularyOptions): string[] {
  const specialTokens = [...(options.specialTokens ?? Object.values(SPECIAL_TOKENS))];
  const minFrequency = options.minFrequency ?? 1;
  if (!Number.isInteger(options.vocabSize) || options.vocabSize <= specialTokens.length) {
    throw new ConfigError(
      `vocabSize is ${options.vocabSize}: expected an integer above the ${specialTokens.length} special tokens`,
    );
  }
  if (!(minFrequency >= 1)) {
    throw new ConfigError(`minFrequency is ${minFrequency}: expected a number of at least 1`);
  }
  if (new Set(specialTokens).size !== specialTokens.length) {
    throw new ConfigError(`specialTokens holds a token twice: ${specialTokens.join(', ')}`);
  }

  const wordFrequencies = countWords(texts, new BertNormalizer(options));
  const room = options.vocabSize - specialTokens.length;
  const alphabet = frequentCharacters(wordFrequencies, minFrequency).slice(0, room);
  const pieces = mergePieces(wordFrequencies, alphabet, { room: room - alphabet.length, minFrequency });
  const vocabulary = new Set([...specialTokens, ...alphabet, ...pieces]);
  return [...vocabulary];
}

/** How often each normalised word occurs. */
export function countWords(texts: Iterable<string>, normalizer: BertNormalizer): Map<string, number> {
  const unitCounts = new Float64Array(0x10000);
  const supplementaryCounts = new Map<number, number>();
  const runCounts = new Map<string, { count: number }>();
  const sink = {
    isolated(codePoint: number) {
      if (codePoint <= 0xffff) unitCounts[codePoint] = (unitCounts[codePoint] as number) + 1;
      else supplementaryCounts.set(codePoint, (supplementaryCounts.get(codePoint) ?? 0) + 1);
    },
    run(text: string, start: number, end: number) {
      const run = text.slice(start, end);
      const known = runCounts.get(run);
      if (known !== undefined) known.count++;
      // A copy: the engine's slices keep the whole text that they were cut from alive.
      else runCounts.set(Buffer.from(run, 'utf16le').toString('utf16le'), { count: 1 });
    },
  };
  for (const text of texts) normalizer.scan(text, sink);

  const frequencies = new Map<string, number>();
  const addWords = (raw: string, count: number) => {
    for (const word of normalizer.runToWords(raw))
      frequencies.set(word, (frequencies.get(word) ?? 0) + count);
  };
  unitCounts.forEach((count, unit) => {
    if (count > 0) addWords(String.fromCharCode(unit), count);
  });
  for (const [codePoint, count] of supplementaryCounts) addWords(String.fromCodePoint(codePoint), count);
  for (const [run, { count }] of runCounts) addWords(run, count);
  for (const word of frequencies.keys()) {
    if (word.length > MAX_WORD_LENGTH && [...word].length > MAX_WORD_LENGTH) frequencies.delete(word);
  }
  return frequencies;
}

function frequentCharacters(wordFrequencies: ReadonlyMap<string, number>, minFrequency: number): string[] {
  const counts = new Map<string, number>();
  for (const [word, frequency] of wordFrequencies) {
    let prefix = '';
    for (const character of word) {
      const symbol = prefix + character;
      counts.set(symbol, (counts.get(symbol) ?? 0) + frequency);
      prefix = CONTINUATION;
    }
  }
  return [...counts]
    .filter(([, count]) => count >= minFrequency)
    .sort(([a, countA], [b, countB]) => countB - countA || compareByCodePoint(a, b))
    .map(([symbol]) => symbol);
}
