import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { keyedRandom } from '../random.js';
import { bootstrapInterval, meanInterval, pairedInterval } from './bootstrap.js';
import { comparePaired } from './metrics.js';

describe('bootstrap intervals', () => {
  it('are near those of the normal distribution for a share', () => {
    const values = Array.from({ length: 1000 }, (_, index) => (index < 700 ? 1 : 0));
    const { low, high } = meanInterval(values);
    const half = 1.96 * Math.sqrt((0.7 * 0.3) / 1000);
    assert.ok(
      Math.abs(low - (0.7 - half)) < 0.003 && Math.abs(high - (0.7 + half)) < 0.003,
      `${low} ${high}`,
    );
    assert.deepEqual(meanInterval(values), { low, high }, 'the same each time');
    assert.notDeepEqual(meanInterval(values, { seed: 2 }), { low, high });
  });

  it('cover the true mean about as often as they say', () => {
    let covered = 0;
    const runs = 200;
    for (let run = 0; run < runs; run++) {
      const random = keyedRandom(run, 3);
      const values = Array.from({ length: 60 }, () => random.integer(0, 9));
      const { low, high } = meanInterval(values, { level: 0.9, samples: 400, seed: run });
      if (low <= 4.5 && 4.5 <= high) covered++;
    }
    // 0.9 ± 3 standard errors, less a little: percentile intervals of 60 examples are slightly too narrow.
    assert.ok(covered / runs > 0.82 && covered / runs < 0.97, `${covered / runs}`);
  });

  it('of two systems on the same examples are as narrow as their agreement allows', () => {
    const labels = new Int32Array(1000);
    // Both are right on 600 and wrong on 320; of the rest the first has 50 and the second 30.
    const first = labels.map((_, at) => (at < 650 ? 0 : 1));
    const second = labels.map((_, at) => (at < 600 || (at >= 650 && at < 680) ? 0 : 1));
    const { difference, standardError } = comparePaired(first, second, labels);
    const { low, high } = pairedInterval(first, second, labels);
    for (const [bound, side] of [
      [low, -1.96],
      [high, 1.96],
    ] as const)
      assert.ok(Math.abs(bound - (difference + side * standardError)) < 0.002, `${low} ${high}`);
    assert.deepEqual(pairedInterval(first, first, labels), { low: 0, high: 0 });
    assert.throws(() => pairedInterval([1], [1, 2], [1, 2]), /got 1 and 2 for 2 labels/);
  });

  it('take any statistic, and refuse nothing to resample', () => {
    assert.deepEqual(
      bootstrapInterval(5, (indices) => indices.length),
      { low: 5, high: 5 },
    );
    assert.throws(() => meanInterval([]), ConfigError);
    assert.throws(() => meanInterval([1], { level: 1 }), ConfigError);
  });
});
