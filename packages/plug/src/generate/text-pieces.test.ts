import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { tokenizer, tokens } from './generate.test-support.js';
import { TextPieces } from './text-pieces.js';

describe('TextPieces', () => {
  it('joined are the decoded text, for any tokens', () => {
    const id = fc.integer({ min: 0, max: tokens.length - 1 });
    fc.assert(
      fc.property(fc.array(id, { maxLength: 40 }), (ids) => {
        const pieces = new TextPieces(tokenizer);
        assert.equal(ids.map((each) => pieces.push(each)).join(''), tokenizer.decode(ids));
      }),
      { numRuns: 500 },
    );
  });

  it('hold whole characters, and spaces where words of Latin letters need them', () => {
    const ids = ['春', '𠮷', 'sing', '##ing', 'to', '，', 'a', '3', '.', '14', '[SEP]'].map((token) =>
      tokens.indexOf(token),
    );
    const pieces = new TextPieces(tokenizer);
    assert.deepEqual(
      ids.map((id) => pieces.push(id)),
      ['春', '𠮷', 'sing', 'ing', ' to', '，', 'a', ' 3', '.', '14', ''],
    );
  });
});
