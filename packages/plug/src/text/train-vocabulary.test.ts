// Vocabulary training: contents, order, limits, independence of the order of texts, speed.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../errors.js';
import { keyedRandom } from '../random.js';
import { HARD_STRINGS } from './hard-strings.test-data.js';
import { tokenizerFromVocabulary, trainVocabulary } from './index.js';
import { compareByCodePoint } from './unicode-properties.js';

const specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

describe('trainVocabulary', () => {
  it('puts special tokens first, then characters by frequency, ties by code point', () => {
    const vocabulary = trainVocabulary(['春春春江江𠮷！！水'], { vocabSize: 100, minFrequency: 1 });
    assert.deepEqual(vocabulary, [...specials, '春', '江', '！', '水', '𠮷']);
  });

  it('honours minFrequency, vocabSize and specialTokens', () => {
    const texts = ['春春春江江水'];
    assert.deepEqual(trainVocabulary(texts, { vocabSize: 100, minFrequency: 2 }), [...specials, '春', '江']);
    assert.deepEqual(trainVocabulary(texts, { vocabSize: 6, minFrequency: 1 }), [...specials, '春']);
    assert.deepEqual(trainVocabulary(texts, { vocabSize: 3, specialTokens: ['<a>'] }), ['<a>', '春', '江']);
  });

  it('makes pieces of words by the most frequent merge', () => {
    // l+##o 7, ##o+##w 7: lo first by code point of the merged text ("##ow" < "lo"), so ##ow.
    const vocabulary = trainVocabulary(['low low low low low lower lower'], { vocabSize: 14 });
    assert.deepEqual(vocabulary, [
      ...specials,
      '##o',
      '##w',
      'l',
      '##e',
      '##r',
      '##ow',
      'low',
      '##er',
      'lower',
    ]);
    const tokenizer = tokenizerFromVocabulary(vocabulary);
    assert.deepEqual([...tokenizer.encode('low lower 中')], [11, 13, 1]);
  });

  it('merges overlapping pairs as they can be cut', () => {
    const vocabulary = trainVocabulary(['aaaaa aaaaa'], { vocabSize: 100, minFrequency: 2 });
    assert.deepEqual(vocabulary, [...specials, '##a', 'a', '##aa', '##aaaa', 'aaaaa']);
  });

  it('normalises as the tokenizer will', () => {
    assert.deepEqual(trainVocabulary(['É É é'], { vocabSize: 50 }), [...specials, 'e']);
    const cased = trainVocabulary(['É É é'], { vocabSize: 50, doLowerCase: false });
    assert.deepEqual(cased, [...specials, 'É', 'é']);
  });

  it('covers its own corpus: no unknown id when there is room', () => {
    const texts = Object.values(HARD_STRINGS).filter((text) => [...text.normalize('NFD')].length <= 100);
    const tokenizer = tokenizerFromVocabulary(trainVocabulary(texts, { vocabSize: 5000 }));
    for (const text of texts) {
      const ids = tokenizer.encode(text.replaceAll('[UNK]', ''));
      assert.ok(!ids.includes(tokenizer.special.unk), JSON.stringify(text));
    }
  });

  it('has no duplicates, keeps its limit, and does not depend on the order of texts', () => {
    const word = fc.string({
      unit: fc.constantFrom('a', 'b', 'c', 'é', '中', '𠮷', ' ', ','),
      maxLength: 12,
    });
    fc.assert(
      fc.property(
        fc.array(word, { maxLength: 20 }),
        fc.integer({ min: 6, max: 60 }),
        fc.nat(),
        (texts, size, seed) => {
          const vocabulary = trainVocabulary(texts, { vocabSize: size });
          assert.ok(vocabulary.length <= size);
          assert.equal(new Set(vocabulary).size, vocabulary.length);
          const shuffled = keyedRandom(seed).shuffle([...texts]);
          assert.deepEqual(trainVocabulary(shuffled, { vocabSize: size }), vocabulary);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('chooses the same merges as a recount from scratch at each step', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 15 }), (words) => {
        const trained = trainVocabulary([words.join(' ')], { vocabSize: 40, specialTokens: [] });
        const alphabet = trained.filter((token) => token.replace('##', '').length === 1);
        assert.deepEqual(trained.slice(alphabet.length), naiveMerges(words, 40 - alphabet.length));
      }),
      { numRuns: 200 },
    );
  });

  it('refuses impossible settings', () => {
    assert.throws(() => trainVocabulary(['中'], { vocabSize: 5 }), ConfigError);
    assert.throws(() => trainVocabulary(['中'], { vocabSize: 10.5 }), ConfigError);
    assert.throws(() => trainVocabulary(['中'], { vocabSize: 10, minFrequency: 0 }), ConfigError);
    assert.throws(
      () => trainVocabulary(['中'], { vocabSize: 10, specialTokens: ['<a>', '<a>'] }),
      ConfigError,
    );
  });
});

/** Merging without any bookkeeping: all pairs are counted anew before each merge. */
function naiveMerges(words: readonly string[], room: number): string[] {
  let split = words.map((word) =>
    [...word].map((character, index) => (index === 0 ? character : `##${character}`)),
  );
  const known = new Set(split.flat());
  const pieces: string[] = [];
  while (pieces.length < room) {
    const counts = new Map<string, number>();
    for (const symbols of split)
      symbols.slice(1).forEach((right, index) => {
        const key = `${symbols[index]} ${right}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      });
    const merge = (key: string) => key.replace(' ##', '');
    const left = (key: string) => key.split(' ')[0] as string;
    const [best] = [...counts].sort(
      ([a, countA], [b, countB]) =>
        countB - countA || compareByCodePoint(merge(a), merge(b)) || compareByCodePoint(left(a), left(b)),
    );
    if (best === undefined) break;
    const merged = merge(best[0]);
    if (!known.has(merged)) pieces.push(merged);
    known.add(merged);
    split = split.map((symbols) => {
      const result: string[] = [];
      for (let index = 0; index < symbols.length; index++) {
        if (`${symbols[index]} ${symbols[index + 1]}` === best[0]) {
          result.push(merged);
          index++;
        } else result.push(symbols[index] as string);
      }
      return result;
    });
  }
  return pieces;
}
