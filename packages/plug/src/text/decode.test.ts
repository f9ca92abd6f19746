// Text from ids: the rules of spacing, and the round trip.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { TokenizerError } from '../errors.js';
import { HARD_STRINGS } from './hard-strings.test-data.js';
import { tokenizerFromVocabulary } from './index.js';
import { trainVocabulary } from './train-vocabulary.js';

const roundTrips = [
  '春江潮水连海平，海上明月共潮生。',
  '“上善若水。”老子《道德经》——第八章……',
  'plug模型有27b参数，bleu-4为66.30%！',
  'the quick brown fox, 12 dogs (and 3 cats) at 12:30.',
  'it costs $3.14 or 1,000,000 in 2021-04-19; yes? no!',
  'he said "well, yes" (twice) and "no" again.',
  '他说"好"，然后走了。',
  '使用python编程，见https://www.example.com/a_b。',
  'ひらかな カタカナ 2 привет',
  '𠮷野家与𠀀𠀁',
  '对吧?对!好,行.',
];
const texts = [...Object.values(HARD_STRINGS), ...roundTrips];
const tokenizer = tokenizerFromVocabulary(trainVocabulary(texts, { vocabSize: 3000 }));
const idsOf = (...tokens: string[]) => tokens.map((token) => tokenizer.tokenToId(token) ?? Number.NaN);

describe('decoding', () => {
  for (const text of roundTrips) {
    it(`gives back ${text}`, () => {
      // Lower-casing aside, these follow the rules of spacing. A dot before a letter is the end of a sentence.
      const expected = text.replace('www.example.com', 'www. example. com');
      assert.equal(tokenizer.decode(tokenizer.encode(text)), expected);
    });
  }

  it('drops white space beside ideographs and keeps it between words', () => {
    assert.equal(tokenizer.decode(tokenizer.encode(' 春 江　潮 plug  27b 参数 ')), '春江潮plug 27b参数');
  });

  it('joins pieces', () => {
    const small = tokenizerFromVocabulary([
      '[PAD]',
      '[UNK]',
      '[CLS]',
      '[SEP]',
      '[MASK]',
      'un',
      '##able',
      '##年',
      '##',
    ]);
    assert.equal(small.decode([5, 6, 5, 7]), 'unable un年');
    assert.equal(small.decode([6, 8]), 'able##');
  });

  it('skips special tokens unless told', () => {
    const ids = idsOf('[CLS]', '春', '[MASK]', '江', '[UNK]', '[SEP]', '[PAD]');
    assert.equal(tokenizer.decode(ids), '春江');
    const all = tokenizer.decode(ids, { skipSpecialTokens: false });
    assert.equal(all, '[CLS]春[MASK]江[UNK] [SEP] [PAD]');
  });

  it('takes any array of ids', () => {
    const ids = idsOf('春', '江');
    assert.equal(tokenizer.decode(Int32Array.from(ids)), '春江');
    assert.equal(tokenizer.decode(Uint16Array.from(ids)), '春江');
    assert.equal(tokenizer.decode([]), '');
  });

  it('refuses ids outside the vocabulary', () => {
    const size = tokenizer.vocabSize;
    for (const id of [size, -1, 1.5, Number.NaN]) {
      assert.throws(
        () => tokenizer.decode([5, 6, id]),
        (error: unknown) =>
          error instanceof TokenizerError &&
          error.message.includes(`id ${id} at position 2 is outside the vocabulary of ${size} entries`),
      );
      assert.throws(() => tokenizer.idToToken(id), TokenizerError);
    }
  });

  it('gives text with the same ids, whatever the text was', () => {
    const special = new Set(Object.values(tokenizer.special));
    const check = (text: string) => {
      const ids = tokenizer.encode(text, { splitSpecialTokens: true }).filter((id) => !special.has(id));
      const decoded = tokenizer.decode(ids);
      assert.deepEqual(tokenizer.encode(decoded, { splitSpecialTokens: true }), ids, JSON.stringify(decoded));
    };
    for (const text of texts) check(text);
    const characters = [...new Set(texts.flatMap((text) => [...text]))];
    const pool = fc.oneof(fc.constantFrom(...characters), fc.constantFrom(...' "\'.,:-()a1中，'));
    fc.assert(
      fc.property(fc.array(pool, { maxLength: 30 }), (parts) => check(parts.join(''))),
      { numRuns: 2000 },
    );
  });
});
