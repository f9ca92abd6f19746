import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { keyedRandom } from '../../random.js';
import { planAnchors } from './anchors.js';
import { keyedPermutation } from './permutation.js';
import { assertProportion, assertUniform } from './samples.test-support.js';

function plan(lengths: number[], read: number, seed = 1) {
  return planAnchors({
    seed,
    stage: 1,
    numDocuments: lengths.length,
    weightOf: (i) => lengths[i]!,
    tokensRead: (length) => Math.min(length, read),
  });
}

describe('keyedPermutation', () => {
  it('is one to one for any size and key (property)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 600 }), fc.integer(), (size, key) => {
        const place = keyedPermutation(size, key);
        const seen = new Set(Array.from({ length: size }, (_, index) => place(index)));
        assert.equal(seen.size, size);
        assert.ok([...seen].every((value) => Number.isInteger(value) && value >= 0 && value < size));
      }),
      { seed: 1 },
    );
  });

  it('puts an index anywhere, and neighbours independently', () => {
    const first = new Float64Array(10);
    const step = new Float64Array(9);
    for (let key = 0; key < 9000; key++) {
      const place = keyedPermutation(10, keyedRandom(key).nextUint32());
      first[place(3)]!++;
      step[((place(4) - place(3) + 10) % 10) - 1]!++;
    }
    // A network of 4-bit halves is not an ideal shuffle: allow 20 % in each cell instead of a test of exactness.
    for (const count of first) assert.ok(Math.abs(count / 900 - 1) < 0.2, `${[...first]}`);
    for (const count of step) assert.ok(Math.abs(count / 1000 - 1) < 0.2, `${[...step]}`);
  });
});

describe('planAnchors', () => {
  it('visits each document ⌊Ln/T⌋ or ⌈Ln/T⌉ times an epoch (property)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 0, max: 5 }),
        (lengths, read, epoch) => {
          fc.pre(lengths.some((length) => length > 0));
          const anchors = plan(lengths, read);
          const visits = lengths.map(() => 0);
          for (let i = 0; i < anchors.samplesPerEpoch; i++) {
            const { document, fraction } = anchors.at(epoch * anchors.samplesPerEpoch + i);
            assert.ok(fraction >= 0 && fraction < 1);
            visits[document]!++;
          }
          lengths.forEach((length, document) => {
            const share = (length * anchors.samplesPerEpoch) / anchors.numTokens;
            const near = Math.round(share);
            const [low, high] =
              Math.abs(share - near) < 1e-9 ? [near - 1, near + 1] : [Math.floor(share), Math.ceil(share)];
            assert.ok(visits[document]! >= (length ? low! : 0) && visits[document]! <= (length ? high! : 0));
          });
        },
      ),
      { seed: 1, numRuns: 300 },
    );
  });

  it('has as many samples an epoch as read the corpus once', () => {
    assert.equal(plan([100, 100, 200], 100).samplesPerEpoch, 4);
    assert.equal(plan([50, 50], 100).samplesPerEpoch, 2);
  });

  it('takes another order and other places each epoch, and the same from the same seed', () => {
    const epoch = (seed: number, number: number) => {
      const anchors = plan([500, 700, 900], 20, seed);
      return Array.from({ length: 105 }, (_, i) => anchors.at(number * 105 + i));
    };
    assert.deepEqual(epoch(1, 0), epoch(1, 0));
    assert.notDeepEqual(epoch(1, 0), epoch(1, 1));
    assert.notDeepEqual(epoch(1, 0), epoch(2, 0));
  });

  it('lies anywhere in a document, uniformly over the epochs', () => {
    const cells = new Float64Array(20);
    for (let seed = 0; seed < 3000; seed++) {
      const { document, fraction } = plan([100, 300], 500, seed).at(0);
      if (document === 1) cells[Math.floor(fraction * 20)]!++;
    }
    assertUniform(cells, 'fraction of the document');
  });

  it('draws other documents in proportion to their lengths, never the excluded one', () => {
    const anchors = plan([100, 0, 700, 200], 10);
    const counts = [0, 0, 0, 0];
    const random = keyedRandom(5);
    for (let i = 0; i < 10_000; i++) counts[anchors.draw(random, 2).document]!++;
    assert.deepEqual([counts[1], counts[2]], [0, 0]);
    assertProportion(counts[0]!, 10_000, 1 / 3, 'first document');
  });

  it('refuses a corpus without text', () => {
    assert.throws(() => plan([], 10), { code: 'CORPUS' });
    assert.throws(() => plan([0, 0], 10), /no usable token/);
  });
});
