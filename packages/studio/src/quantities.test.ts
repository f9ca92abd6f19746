import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes, compact, scientific, share } from './quantities.js';

test('quantities are short, and say what is there', () => {
  assert.deepEqual(
    [bytes(14_436_986_892, 'en'), bytes(999, 'en'), bytes(-3e9, 'en')],
    ['14.4 GB', '999 B', '-3 GB'],
  );
  assert.equal(compact(26_100_601_859, 'en'), '26.1B');
  assert.equal(compact(26_100_601_859, 'zh-CN'), '261亿');
  assert.deepEqual([share(1, 1e6, 'en'), share(1, 3, 'en')], ['<0.1%', '33.3%']);
  assert.deepEqual([scientific(78_777_837_158, 'en'), scientific(1234, 'en')], ['7.88 × 10¹⁰', '1,234']);
});
