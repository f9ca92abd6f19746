import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { countCharacters } from './characters.js';
import { splitSentences } from './sentences.js';

/** Text dense in the marks that matter, with surrogate pairs, lone surrogates and white space. */
const markedText = fc
  .array(
    fc.oneof(
      fc.constantFrom(...'。！？；…．.!?”’」』）》"\')\n\r\t 　aB1春江𠮷', '\ud842', '\udfb7', '\u2028'),
      fc.string({ unit: 'binary', maxLength: 3 }),
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(''));

describe('splitSentences', () => {
  it('gives sentences that are the text again when joined', () => {
    fc.assert(
      fc.property(markedText, (text) => splitSentences(text).join('') === text),
      { numRuns: 2000 },
    );
  });

  it('gives no blank sentence beside others, and no sentence that begins with white space but the first', () => {
    fc.assert(
      fc.property(markedText, (text) => {
        const sentences = splitSentences(text);
        for (const [index, sentence] of sentences.entries()) {
          if (sentences.length > 1) assert.notEqual(sentence.trim(), '');
          if (index > 0) assert.equal(sentence.trimStart(), sentence);
        }
      }),
      { numRuns: 2000 },
    );
  });

  const cases: [string, string[]][] = [
    ['', []],
    ['  ', ['  ']],
    [
      '春江潮水連海平，海上明月共潮生。灩灩隨波千萬里',
      ['春江潮水連海平，海上明月共潮生。', '灩灩隨波千萬里'],
    ],
    ['他说：“走吧！”她不走。', ['他说：“走吧！”', '她不走。']],
    ['「何不去？」（王曰。）去也；來也', ['「何不去？」', '（王曰。）', '去也；', '來也']],
    ['我……不知道。', ['我……', '不知道。']],
    ['真的？！真的。', ['真的？！', '真的。']],
    ['Pi is 3.14. See v1.2!  Yes?', ['Pi is 3.14. ', 'See v1.2!  ', 'Yes?']],
    ['价格３．５元．好', ['价格３．５元．', '好']],
    ['一\n\n二\r\n三', ['一\n\n', '二\r\n', '三']],
    ['𠮷野家。𠮷', ['𠮷野家。', '𠮷']],
  ];
  for (const [text, expected] of cases) {
    it(`splits ${JSON.stringify(text)}`, () => assert.deepEqual(splitSentences(text), expected));
  }

  it('takes time in proportion to the length', () => {
    const sentences = splitSentences('春'.repeat(2_000_000) + '。'.repeat(2_000_000));
    assert.equal(sentences.length, 1);
  });
});

describe('countCharacters', () => {
  it('counts code points', () => {
    fc.assert(fc.property(markedText, (text) => countCharacters(text) === [...text].length));
  });
});
