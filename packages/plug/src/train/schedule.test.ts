import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { learningRateAt } from './index.js';

describe('learningRateAt', () => {
  it('rises from peak / warm-up steps to the peak, and falls to its last share', () => {
    const rates = Array.from({ length: 10 }, (_, index) => learningRateAt(index + 1, 10, 1, 0.2));
    const falling = [8, 7, 6, 5, 4, 3, 2, 1].map((left) => left / 9);
    assert.deepEqual(rates, [0.5, 1, ...falling]);
  });

  it('has no step without a rate, and none above the peak, for any length', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (totalSteps, warmupFraction) => {
          const peak = 3e-4;
          const warmup = Math.ceil(warmupFraction * totalSteps);
          let before = 0;
          for (let step = 1; step <= totalSteps; step++) {
            const rate = learningRateAt(step, totalSteps, peak, warmupFraction);
            assert.ok(rate > 0 && rate <= peak, `step ${step} of ${totalSteps}: ${rate}`);
            if (step <= warmup) assert.ok(rate > before);
            else if (step > warmup + 1) assert.ok(rate < before);
            before = rate;
          }
          if (warmup > 0) assert.equal(learningRateAt(warmup, totalSteps, peak, warmupFraction), peak);
          // Where zero would come next: the last step takes one share of the fall.
          const last = learningRateAt(totalSteps, totalSteps, peak, warmupFraction);
          if (warmup < totalSteps) assert.equal(last, peak / (totalSteps - warmup + 1));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('starts at a rate below the peak even without warm-up', () => {
    assert.ok(learningRateAt(1, 4, 1, 0) <= 1);
    assert.equal(learningRateAt(4, 4, 1, 1), 1, 'all warm-up');
  });
});
