import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { keyedRandom } from '../../random.js';
import { type BatchPosition, batchStream, type SampleLengths } from './batches.js';

/** Lengths of 32..512 on both sides, as in stage 2. */
function lengths(samplesPerEpoch: number, longest = 512): SampleLengths {
  return {
    samplesPerEpoch,
    maxSampleTokens: 2 * longest,
    lengthOf(index) {
      const random = keyedRandom(1, index);
      return { source: random.integer(32, longest), target: random.integer(32, longest) };
    },
  };
}

const tokensOf = (samples: SampleLengths, batch: number[]) =>
  batch.map((index) => samples.lengthOf(index)).reduce((sum, { source, target }) => sum + source + target, 0);

describe('batchStream', () => {
  it('gives each sample exactly once an epoch, within the token budget (property)', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 150 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1024, max: 6000 }),
        fc.integer(),
        (samplesPerEpoch, window, tokensPerBatch, seed) => {
          const samples = lengths(samplesPerEpoch);
          const stream = batchStream(samples, { seed, tokensPerBatch, window });
          for (let epoch = 0; epoch < 3; epoch++) {
            const seen: number[] = [];
            while (stream.epoch === epoch) {
              const batch = stream.nextBatch();
              assert.ok(batch.length > 0 && tokensOf(samples, batch) <= tokensPerBatch);
              seen.push(...batch);
            }
            const expected = Array.from({ length: samplesPerEpoch }, (_, i) => epoch * samplesPerEpoch + i);
            assert.deepEqual(
              seen.sort((a, b) => a - b),
              expected,
            );
            assert.equal(stream.position.samples, (epoch + 1) * samplesPerEpoch);
          }
        },
      ),
      { seed: 1, numRuns: 60 },
    );
  });

  it('continues from any saved position as if it had never stopped (property)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 50 }), (stopAfter, window) => {
        const settings = { seed: 5, tokensPerBatch: 3000, window };
        const unbroken = batchStream(lengths(90), settings);
        for (let i = 0; i < stopAfter; i++) unbroken.nextBatch();
        const saved = JSON.parse(JSON.stringify(unbroken.position)) as BatchPosition;
        const resumed = batchStream(lengths(90), settings);
        resumed.seek(saved);
        for (let i = 0; i < 30; i++) {
          assert.deepEqual(resumed.position, unbroken.position);
          assert.deepEqual(resumed.nextBatch(), unbroken.nextBatch());
        }
      }),
      { seed: 1, numRuns: 60 },
    );
  });

  it('seeks backwards, and a caller cannot change the stream through what it was given', () => {
    const stream = batchStream(lengths(90), { seed: 5, tokensPerBatch: 3000 });
    const start = stream.position;
    const first = stream.nextBatch();
    const copy = [...first];
    first.fill(-1);
    stream.position.batchInWindow = 99;
    stream.nextBatch();
    stream.seek(start);
    assert.deepEqual(stream.nextBatch(), copy);
  });

  it('makes batches of similar lengths on both sides and even sizes', () => {
    const samples = lengths(1024);
    const stream = batchStream(samples, { seed: 1, tokensPerBatch: 16_384 });
    let spread = 0;
    let batches = 0;
    let smallest = Number.POSITIVE_INFINITY;
    while (stream.epoch === 0) {
      const batch = stream.nextBatch();
      const rows = batch.map((index) => samples.lengthOf(index));
      for (const side of ['source', 'target'] as const) {
        const all = rows.map((row) => row[side]);
        spread += Math.max(...all) - Math.min(...all);
      }
      batches++;
      smallest = Math.min(smallest, tokensOf(samples, batch));
    }
    // Random batches of 30 samples spread over about 450 of the 480 lengths.
    assert.ok(spread / (2 * batches) < 130, `mean spread ${spread / (2 * batches)}`);
    assert.ok(smallest > 16_384 / 2, `smallest batch ${smallest} tokens`);
  });

  it('shuffles the batches, differently for each seed and window', () => {
    const samples = lengths(512);
    const meanLengths = (seed: number) => {
      const stream = batchStream(samples, { seed, tokensPerBatch: 8192, window: 256 });
      return Array.from({ length: 30 }, () => {
        const batch = stream.nextBatch();
        return Math.round(tokensOf(samples, batch) / batch.length);
      });
    };
    const one = meanLengths(1);
    assert.notDeepEqual(
      one,
      [...one].sort((a, b) => a - b),
    );
    assert.notDeepEqual(one, meanLengths(2));
    assert.deepEqual(one, meanLengths(1));
  });

  it('refuses a budget below one sample, and positions that cannot be', () => {
    const settings = { seed: 1, tokensPerBatch: 2048, window: 30 };
    assert.throws(() => batchStream(lengths(90), { ...settings, tokensPerBatch: 1000 }), { code: 'CONFIG' });
    assert.throws(() => batchStream(lengths(90), { ...settings, window: 0 }), { code: 'CONFIG' });
    const stream = batchStream(lengths(90), settings);
    const good = { windowStart: 120, batchInWindow: 2, batches: 50, samples: 130 };
    stream.seek(good);
    assert.deepEqual(stream.position, good);
    for (const wrong of [{ windowStart: 7 }, { windowStart: -30 }, { batchInWindow: 30 }, { samples: 0.5 }]) {
      assert.throws(() => stream.seek({ ...good, ...wrong }), { code: 'CONFIG' });
    }
    assert.deepEqual(stream.position, good, 'a refused seek changes nothing');
  });
});
