// Ids against Hugging Face's own implementation: hard strings, random Unicode, real lines.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { TokenizerError } from '../errors.js';
import { HARD_STRINGS } from './hard-strings.test-data.js';
import { loadTokenizer, type Tokenizer, tokenizerFromVocabulary } from './index.js';
import {
  assertSameIds,
  referenceTokenizer,
  sharedFile,
  sharedTexts,
  unlessShared,
} from './oracle.test-support.js';
import { trainVocabulary } from './train-vocabulary.js';

const specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const hardStrings = Object.values(HARD_STRINGS);
const variants = [
  { doLowerCase: true },
  { doLowerCase: false },
  { doLowerCase: true, stripAccents: false },
  { doLowerCase: false, stripAccents: true },
  { doLowerCase: true, tokenizeChineseChars: false },
];

// Every character of the hard strings is an entry, so that a difference anywhere shows in the ids.
function hardVocabulary(options: (typeof variants)[number]): string[] {
  return trainVocabulary(hardStrings, { vocabSize: 1600, ...options });
}

// Any UTF-16 at all, any code points, and shuffled characters of the hard strings and of the ranges in which
// the rules differ.
const hardCharacters = [...new Set(hardStrings.flatMap((text) => [...text]))];
const randomText = fc.oneof(
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 30 })
    .map((units) => String.fromCharCode(...units)),
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.array(fc.constantFrom(...hardCharacters), { maxLength: 40 }).map((characters) => characters.join('')),
  fc
    .array(fc.oneof(fc.constantFrom(0x41, 0x20, 0x4e00), fc.integer({ min: 0x300, max: 0x36f })), {
      maxLength: 20,
    })
    .map((codePoints) => String.fromCodePoint(...codePoints)),
);

describe('ids equal the oracle', () => {
  for (const options of variants) {
    it(`over the hard strings and random text, ${JSON.stringify(options)}`, async () => {
      const vocabulary = hardVocabulary(options);
      const tokenizer = tokenizerFromVocabulary(vocabulary, options);
      const reference = referenceTokenizer(vocabulary, options);
      await assertSameIds(tokenizer, reference, hardStrings);
      await fc.assert(
        fc.asyncProperty(fc.array(randomText, { minLength: 10, maxLength: 10 }), (texts) =>
          assertSameIds(tokenizer, reference, texts),
        ),
        { numRuns: 200 },
      );
    });
  }

  it('for every code point alone and inside a word', async () => {
    const vocabulary = hardVocabulary({ doLowerCase: true });
    const tokenizer = tokenizerFromVocabulary(vocabulary);
    const reference = referenceTokenizer(vocabulary);
    const texts: string[] = [];
    for (let start = 0; start < 0x30000; start += 64) {
      const codePoints = Array.from({ length: 64 }, (_, offset) => start + offset);
      texts.push(codePoints.map((codePoint) => `a${String.fromCodePoint(codePoint)}a `).join(''));
    }
    await assertSameIds(tokenizer, reference, texts);
  });

  it('with the published vocabulary, over the hard strings', {
    skip: unlessShared('vocab.txt'),
  }, async () => {
    const tokenizer = loadTokenizer(sharedFile('vocab.txt') as string);
    assert.equal(tokenizer.vocabSize, 21128);
    assert.deepEqual(tokenizer.special, { pad: 0, unk: 100, cls: 101, sep: 102, mask: 103 });
    await assertSameIds(tokenizer, referenceTokenizer(tokenizer.tokens), hardStrings);
  });

  it('with the published vocabulary, over 10,000 real lines', { skip: unlessShared('clue') }, async () => {
    const tokenizer = loadTokenizer(sharedFile('vocab.txt') as string);
    const reference = referenceTokenizer(tokenizer.tokens);
    const lines = [
      ...sharedTexts('clue', 'ocnli', 'dev.json').slice(0, 6000),
      ...sharedTexts('clue', 'fewclue', 'csl', 'dev_few_all.json'),
      ...sharedTexts('clue', 'fewclue', 'iflytek', 'dev_few_all.json'),
      ...sharedTexts('clue', 'fewclue', 'tnews', 'dev_few_all.json'),
      ...sharedTexts('clue', 'fewclue', 'chid', 'dev_few_all.json'),
      ...sharedTexts('clue', 'ocnli', 'dev.json').slice(6000),
    ].slice(0, 10_000);
    assert.equal(lines.length, 10_000);
    await assertSameIds(tokenizer, reference, lines);
  });
});

describe('encoding', () => {
  const tokenizer = tokenizerFromVocabulary([...specials, '中', '文', 'ab', '##c', '[', ']', 'mask', '𠮷']);
  const tokensOf = (text: string, from: Tokenizer = tokenizer, splitSpecialTokens = false) =>
    [...from.encode(text, { splitSpecialTokens })].map((id) => from.idToToken(id));

  it('adds no special tokens and gives an Int32Array of its own', () => {
    const first = tokenizer.encode('中文');
    const second = tokenizer.encode('文文文');
    assert.deepEqual(first, Int32Array.of(5, 6));
    assert.equal(second.length, 3);
    assert.equal(tokenizer.encode('').length, 0);
  });

  it('reads special tokens that the text spells out, unless told to split them', () => {
    assert.deepEqual(tokensOf('中[MASK]文'), ['中', '[MASK]', '文']);
    assert.deepEqual(tokensOf('中[MASK]文', tokenizer, true), ['中', '[', 'mask', ']', '文']);
  });

  it('keeps an ideograph outside the BMP whole, and drops lone surrogates', () => {
    assert.deepEqual(tokensOf('中𠮷文'), ['中', '𠮷', '文']);
    assert.deepEqual(tokensOf('中\ud842文ab\udfb7c'), ['中', '文', 'ab', '##c']);
  });

  it('is the same for a text the second time, and after many other words', () => {
    const text = '中abc文 ABC 𠮷 xyz';
    const first = tokenizer.encode(text);
    for (let word = 0; word < 210_000; word++) tokenizer.encode(`w${word}`);
    assert.deepEqual(tokenizer.encode(text), first);
    assert.deepEqual(tokensOf('ABC ab zz'), ['ab', '##c', 'ab', '[UNK]']);
  });

  it('does not take a second for a megabyte without any space', () => {
    const started = performance.now();
    tokenizer.encode('x'.repeat(1_000_000));
    tokenizer.encode(`${'q'.repeat(99)} `.repeat(10_000));
    assert.ok(performance.now() - started < 5000); // generous: machines differ
  });
});

describe('vocabulary files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'plug-text-'));
  after(() => rmSync(folder, { recursive: true }));
  const fileOf = (name: string, content: string | Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const failure = (message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof TokenizerError);
    assert.equal(error.code, 'TOKENIZER');
    assert.match(error.message, message);
    return true;
  };

  it('are saved and loaded with their options', () => {
    const tokens = ['<p>', '<u>', '<c>', '<s>', '<m>', '中', 'Ab', '\u2028'];
    const options = {
      doLowerCase: false,
      stripAccents: true,
      specialTokens: { pad: '<p>', unk: '<u>', cls: '<c>', sep: '<s>', mask: '<m>' },
    };
    const target = join(folder, 'deep', 'saved');
    tokenizerFromVocabulary(tokens, options).save(target);
    const loaded = loadTokenizer(target);
    assert.deepEqual(loaded.tokens, tokens);
    assert.deepEqual(loaded.special, { pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 });
    assert.deepEqual([...loaded.encode('中 Ab ab <m>')], [5, 6, 1, 4]);
    assert.deepEqual([...loadTokenizer(join(target, 'vocab.txt')).encode('Ab')], [6]);
    const config = JSON.parse(readFileSync(join(target, 'tokenizer_config.json'), 'utf8'));
    assert.equal(config.do_lower_case, false);
    assert.equal(config.mask_token, '<m>');
  });

  it('may have CRLF line ends, a byte-order mark and no last line end', () => {
    const path = fileOf('crlf.txt', `\ufeff${[...specials, '中'].join('\r\n')}`);
    assert.deepEqual(loadTokenizer(path).tokens, [...specials, '中']);
  });

  it('fail clearly when missing, damaged or unfit', () => {
    assert.throws(() => loadTokenizer(join(folder, 'none')), failure(/no vocabulary at .*none/));
    mkdirSync(join(folder, 'hollow'));
    assert.throws(() => loadTokenizer(join(folder, 'hollow')), failure(/hollow.vocab\.txt/));
    const invalid = Buffer.concat([Buffer.from('[PAD]\n中\n'), Buffer.from([0xd6, 0xd0, 0x0a])]);
    assert.throws(() => loadTokenizer(fileOf('gbk.txt', invalid)), failure(/gbk\.txt:3: not valid UTF-8/));
    assert.throws(() => loadTokenizer(fileOf('gap.txt', '[PAD]\n\n中\n')), failure(/gap\.txt:2: empty line/));
    assert.throws(
      () => loadTokenizer(fileOf('twice.txt', [...specials, '中', '文', '中'].join('\n'))),
      failure(/twice\.txt: token "中" stands at ids 5 and 7/),
    );
    assert.throws(
      () => tokenizerFromVocabulary(['[PAD]', '[UNK]', '[CLS]', '中']),
      failure(/\[SEP\], \[MASK\] are missing/),
    );
    assert.throws(() => tokenizerFromVocabulary([...specials, 'a\nb']), failure(/id 5 is "a\\nb"/));
  });

  it('fail clearly when the configuration beside them is damaged', () => {
    const target = join(folder, 'config');
    tokenizerFromVocabulary(specials).save(target);
    writeFileSync(join(target, 'tokenizer_config.json'), '{"do_lower_case": "no"}');
    assert.throws(
      () => loadTokenizer(target),
      failure(/do_lower_case must be true, false or null, got "no"/),
    );
    writeFileSync(join(target, 'tokenizer_config.json'), '{');
    assert.throws(() => loadTokenizer(target), failure(/tokenizer_config\.json: not valid JSON/));
  });
});
