import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BenchmarkError } from '../harness/harness.js';
import { shapes } from '../shapes.js';
import { countBatches, textsOf, tokenBatches } from './case.js';
import { agreement } from './encode.js';

const lengths = [5, 100, 30, 30, 7, 64];

describe('batches of texts', () => {
  it('tokenBatches takes each text once, longest first, within the budget unless one text is longer', () => {
    const batches = tokenBatches(lengths, 70);
    assert.deepEqual(batches, [[1], [5], [2, 3, 4], [0]]);
    assert.deepEqual(tokenBatches([], 70), []);
  });

  it('countBatches keeps the order that texts came in, or sorts them, longest first', () => {
    assert.deepEqual(countBatches(lengths, 4, false), [
      [0, 1, 2, 3],
      [4, 5],
    ]);
    assert.deepEqual(countBatches(lengths, 4, true), [
      [1, 5, 2, 3],
      [4, 0],
    ]);
  });

  it('textsOf draws the same texts of 16 tokens to the most that the model can hold', () => {
    const texts = textsOf(shapes.trial, 50, 1);
    assert.deepEqual(texts, textsOf(shapes.trial, 50, 1));
    const found = texts.map((text) => text.length);
    assert.ok(Math.min(...found) >= 16 && Math.max(...found) <= 64, `${found}`);
  });
});

describe('agreement', () => {
  it('tells the largest difference and the share of texts in the same class', () => {
    const found = agreement([1, 0, 0, 0, 1, 0], [0.5, 0, 0, 2, 1, 0]);
    assert.deepEqual(found, { largestDifference: 2, sameClass: 0.5 });
  });

  it('keeps what is not a number, and refuses another number of logits', () => {
    assert.ok(Number.isNaN(agreement([Number.NaN, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0]).largestDifference));
    assert.throws(() => agreement([1, 2, 3], [1, 2, 3, 4, 5, 6]), BenchmarkError);
  });
});
