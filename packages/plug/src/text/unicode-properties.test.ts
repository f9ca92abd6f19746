// The committed character tables against the oracle, code point by code point.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readUnicodeTables } from './generate-unicode-tables.js';
import {
  collectRanges,
  compareByCodePoint,
  hasProperty,
  inRanges,
  isWhitespace,
  packRanges,
  unpackRanges,
} from './unicode-properties.js';
import { UNICODE_RANGES } from './unicode-tables.generated.js';

describe('Unicode properties', () => {
  it('equal what the oracle does with every code point', () => {
    assert.deepEqual(readUnicodeTables(), UNICODE_RANGES);
  });

  it('agree with well-known characters', () => {
    const code = (character: string) => character.codePointAt(0) as number;
    for (const character of '，。“”·—…$`~') assert.ok(hasProperty('punctuation', code(character)), character);
    for (const character of '中a1℃￥😀') assert.ok(!hasProperty('punctuation', code(character)), character);
    for (const character of ['\u0301', '\u0345', '\u{1d167}'])
      assert.ok(hasProperty('nonspacingMark', code(character)));
    for (const codePoint of [0, 1, 0x7f, 0xfeff, 0x200d, 0xfffd, 0xe000, 0x10fffd])
      assert.ok(hasProperty('removed', codePoint), codePoint.toString(16));
    for (const codePoint of [9, 10, 13, 0x20, 0x3000]) assert.ok(!hasProperty('removed', codePoint));
  });

  it('take white space from the White_Space property', () => {
    for (let codePoint = 0; codePoint < 0x10000; codePoint++) {
      const expected = /^\p{White_Space}$/u.test(String.fromCodePoint(codePoint));
      assert.equal(isWhitespace(codePoint), expected, codePoint.toString(16));
    }
  });

  it('pack and unpack ranges', () => {
    const isMember = (codePoint: number) => codePoint % 7 < 3 || codePoint > 0x10ff00;
    const ranges = unpackRanges(packRanges(collectRanges(isMember)));
    for (let codePoint = 0; codePoint < 0x110000; codePoint += 11) {
      const isSurrogate = codePoint >= 0xd800 && codePoint <= 0xdfff;
      assert.equal(inRanges(ranges, codePoint), !isSurrogate && isMember(codePoint), codePoint.toString(16));
    }
  });

  it('order text by code point, not by UTF-16 unit', () => {
    const sorted = ['𠮷', '！', '中', 'ab', 'a', '', '𠀀'].sort(compareByCodePoint);
    assert.deepEqual(sorted, ['', 'a', 'ab', '中', '！', '𠀀', '𠮷']);
  });
});
