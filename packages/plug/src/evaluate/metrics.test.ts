import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../errors.js';
import {
  accuracy,
  bitsPerCharacter,
  comparePaired,
  macroF1,
  majorityAccuracy,
  perplexity,
} from './metrics.js';

function near(actual: number, expected: number, tolerance = 1e-12): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);
}

describe('accuracy', () => {
  it('has the binomial standard error', () => {
    const result = accuracy([1, 1, 0, 2], [1, 1, 0, 0]);
    assert.equal(result.accuracy, 0.75);
    near(result.standardError, Math.sqrt(0.75 * 0.25) / 2);
    assert.equal(result.numExamples, 4);
  });

  it('of the majority class looks at the training labels only', () => {
    assert.equal(majorityAccuracy([2, 2, 1], [1, 1, 1, 2]).accuracy, 0.25);
    assert.equal(majorityAccuracy([2, 1], [1, 1, 1, 2]).accuracy, 0.75, 'the lowest of equally frequent');
  });

  it('refuses lists of different length or without entries', () => {
    assert.throws(() => accuracy([1], [1, 2]), ConfigError);
    assert.throws(() => accuracy([], []), ConfigError);
  });
});

describe('the paired comparison', () => {
  it('gives the exact McNemar test of a case worked by hand', () => {
    // The first alone is right 5 times, the second alone once: P(X ≤ 1 | 6, ½) = 7 / 64, two-sided 14 / 64.
    const labels = [0, 0, 0, 0, 0, 0, 0, 0];
    const result = comparePaired([0, 0, 0, 0, 0, 1, 0, 1], [1, 1, 1, 1, 1, 0, 0, 1], labels);
    assert.deepEqual([result.onlyFirst, result.onlySecond], [5, 1]);
    near(result.pValue, 14 / 64);
    near(result.difference, 0.5);
    near(result.standardError, Math.sqrt(6 - 16 / 8) / 8);
  });

  it('has the standard error of the mean of per-example differences', () => {
    const answers = fc.array(fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2)), { minLength: 2, maxLength: 60 });
    fc.assert(
      fc.property(answers, (rows) => {
        const [first, second, labels] = [0, 1, 2].map((column) => rows.map((row) => row[column]!));
        const result = comparePaired(first!, second!, labels!);
        const differences = rows.map(([a, b, y]) => Number(a === y) - Number(b === y));
        const mean = differences.reduce((sum, d) => sum + d, 0) / rows.length;
        const variance = differences.reduce((sum, d) => sum + (d - mean) ** 2, 0) / rows.length;
        near(result.difference, mean);
        near(result.standardError, Math.sqrt(variance / rows.length), 1e-9);
        assert.ok(result.pValue > 0 && result.pValue <= 1);
      }),
    );
  });

  it('stays finite for thousands of examples, and near the normal approximation', () => {
    const labels = new Array<number>(20_000).fill(0);
    const first = labels.map((_, i) => (i < 10_200 ? 0 : 1));
    const second = labels.map((_, i) => (i < 10_200 ? 1 : 0));
    // z = (|b − c| − 1) / √(b + c) with b = 10200, c = 9800: two-sided 0.004773 by the normal distribution.
    near(comparePaired(first, second, labels).pValue, 0.004773, 2e-5);
    assert.equal(comparePaired(labels, labels, labels).pValue, 1);
  });
});

describe('macro F1', () => {
  it('is the mean over the classes', () => {
    // Class 0: TP 2, FP 1, FN 0 → 4/5. Class 1: TP 1, FP 0, FN 1 → 2/3. Class 2: FP 0, FN 1, TP 0 → 0; 3: FP 1.
    near(macroF1([0, 0, 0, 1, 3], [0, 0, 1, 1, 2]), (4 / 5 + 2 / 3 + 0 + 0) / 4);
  });

  it('is 1 exactly for right answers', () => {
    assert.equal(macroF1([3, 1, 1], [3, 1, 1]), 1);
  });
});

describe('likelihood scores', () => {
  it('turn nats into perplexity and bits per character', () => {
    near(perplexity(3 * Math.log(7), 3), 7);
    near(bitsPerCharacter(10 * Math.LN2, 5), 2);
  });
});
