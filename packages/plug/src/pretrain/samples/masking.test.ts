import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { keyedRandom } from '../../random.js';
import { createMasking, labelKind, type MaskingSettings } from './masking.js';
import { assertProportion, assertUniform, sigmas, vocabulary } from './samples.test-support.js';

const { cls, sep, mask } = vocabulary.special;

/** [CLS] a [SEP] b [SEP] with text ids that are all different. */
function sequence(lengthA: number, lengthB: number): Int32Array {
  const ids = [cls, ...Array.from({ length: lengthA }, (_, i) => 1000 + i), sep];
  ids.push(...Array.from({ length: lengthB }, (_, i) => 5000 + i), sep);
  return Int32Array.from(ids);
}

function damage(ids: Int32Array, seed: number, withTrigrams: boolean, settings: MaskingSettings = {}) {
  const damaged = ids.slice();
  const labels = createMasking(vocabulary, settings)(damaged, keyedRandom(seed, 7), withTrigrams);
  return { damaged, ...labels };
}

describe('masked LM', () => {
  it('chooses 15 % of the text tokens, in expectation exactly, of which 80/10/10', () => {
    const samples = 8000;
    let masked = 0;
    let text = 0;
    const fates = { mask: 0, random: 0, same: 0 };
    for (let seed = 0; seed < samples; seed++) {
      const ids = sequence(13, 24); // 0.15 * 37 = 5.55: the rounding matters
      text += 37;
      const { damaged, labelPositions, labels } = damage(ids, seed, false);
      assert.ok(labelPositions.length === 5 || labelPositions.length === 6);
      masked += labelPositions.length;
      for (const [i, position] of labelPositions.entries()) {
        const now = damaged[position]!;
        if (now === mask) fates.mask++;
        else if (now === labels[i]) fates.same++;
        else fates.random++;
      }
    }
    // The count of a sequence is 5 or 6, with variance 0.55 * 0.45, not binomial: test the rounding itself.
    assertProportion(masked - 5 * samples, samples, 0.55, 'sequences rounded up');
    assert.ok(Math.abs(masked / text - 0.15) < (sigmas * Math.sqrt(0.55 * 0.45)) / (37 * Math.sqrt(samples)));
    const ordinary = vocabulary.vocabSize - 5;
    assertProportion(fates.mask, masked, 0.8, '[MASK]');
    assertProportion(fates.random, masked, 0.1 * (1 - 1 / ordinary), 'random token');
    assertProportion(fates.same, masked, 0.1 * (1 + 1 / ordinary), 'unchanged');
  });

  it('chooses every text position equally often and no special one', () => {
    const counts = new Float64Array(40);
    for (let seed = 0; seed < 6000; seed++) {
      for (const position of damage(sequence(13, 24), seed, false).labelPositions) counts[position]!++;
    }
    for (const special of [0, 14, 39]) assert.equal(counts[special], 0);
    assertUniform(
      counts.filter((_, position) => ![0, 14, 39].includes(position)),
      'masked positions',
    );
  });

  it('draws random tokens uniformly from the real entries that are not special', () => {
    const small = { vocabSize: 25, special: { pad: 0, unk: 7, cls: 8, sep: 9, mask: 24 } };
    const masking = createMasking(small, { maskProbability: 1, maskTokenShare: 0, randomTokenShare: 1 });
    const counts = new Float64Array(30);
    for (let seed = 0; seed < 400; seed++) {
      const ids = new Int32Array(100).fill(3);
      masking(ids, keyedRandom(seed), false);
      for (const id of ids) counts[id]!++;
    }
    for (let id = 0; id < counts.length; id++) {
      const drawable = id < 25 && ![0, 7, 8, 9, 24].includes(id);
      assert.equal(counts[id]! > 0, drawable, `id ${id}`);
    }
    assertUniform(
      counts.filter((count) => count > 0),
      'random tokens',
    );
  });

  it('rejects settings out of range', () => {
    for (const settings of [
      { maskProbability: 1.5 },
      { maskProbability: Number.NaN },
      { trigramProbability: -0.1 },
      { trigramLength: 1 },
      { maskTokenShare: 0.95, randomTokenShare: 0.1 },
    ]) {
      assert.throws(() => createMasking(vocabulary, settings), { code: 'CONFIG' });
    }
    assert.throws(
      () => createMasking({ vocabSize: 5, special: { pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 } }),
      /none of them ordinary/,
    );
  });
});

describe('shuffled trigrams', () => {
  /** The trigrams of a sample, from its word-order labels; with all ids different, neighbours are separable. */
  function wordOrderPositions(sample: { labelPositions: Int32Array; labelKinds: Uint8Array }): number[] {
    return [...sample.labelPositions].filter((_, i) => sample.labelKinds[i] === labelKind.wordOrder);
  }

  it('shuffles 5 % of the disjoint trigrams that fit between masked and special tokens', () => {
    const samples = 3000;
    let expected = 0;
    let variance = 0;
    let shuffled = 0;
    for (let seed = 0; seed < samples; seed++) {
      const ids = sequence(240, 241);
      const sample = damage(ids, seed, true);
      // Count the trigrams independently of the code: run lengths between masked and special positions.
      const maskedOrSpecial = new Set([0, 241, 483]);
      sample.labelPositions.forEach((position, i) => {
        if (sample.labelKinds[i] === labelKind.masked) maskedOrSpecial.add(position);
      });
      let trigrams = 0;
      let run = 0;
      for (let position = 0; position < ids.length; position++) {
        if (!maskedOrSpecial.has(position)) run++;
        if (maskedOrSpecial.has(position) || position === ids.length - 1) {
          trigrams += Math.floor(run / 3);
          run = 0;
        }
      }
      const share = 0.05 * trigrams;
      expected += share;
      variance += (share - Math.floor(share)) * (Math.ceil(share) - share);
      const positions = wordOrderPositions(sample);
      assert.equal(positions.length % 3, 0);
      shuffled += positions.length / 3;
    }
    assert.ok(
      Math.abs(shuffled - expected) < sigmas * Math.sqrt(variance),
      `${shuffled} trigrams shuffled, expected ${expected} ± ${Math.sqrt(variance)}`,
    );
  });

  it('draws each of the five other orders equally often, and never the original one', () => {
    const orders = new Map<string, number>();
    for (let seed = 0; seed < 4000; seed++) {
      const sample = damage(Int32Array.of(cls, 11, 12, 13, sep), seed, true, {
        maskProbability: 0,
        trigramProbability: 1,
      });
      assert.deepEqual([...sample.labelPositions], [1, 2, 3]);
      assert.deepEqual([...sample.labels], [11, 12, 13]);
      const order = [...sample.damaged.slice(1, 4)].join(' ');
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    assert.equal(orders.has('11 12 13'), false);
    assert.equal(orders.size, 5);
    assertUniform([...orders.values()], 'orders of a trigram');
  });

  it('takes the trigrams of a run from every offset', () => {
    const firsts = new Float64Array(3);
    for (let seed = 0; seed < 3000; seed++) {
      const sample = damage(Int32Array.of(cls, 11, 12, 13, 14, 15, sep), seed, true, {
        maskProbability: 0,
        trigramProbability: 1,
      });
      firsts[sample.labelPositions[0]! - 1]!++;
    }
    assertUniform(firsts, 'offset of the tiling');
  });

  it('stays inside one text, off the masked tokens, and restores exactly (property)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 104, max: 120 }), { maxLength: 60 }),
        fc.array(fc.integer({ min: 104, max: 120 }), { maxLength: 60 }),
        fc.integer(),
        fc.integer({ min: 2, max: 5 }),
        (a, b, seed, trigramLength) => {
          const ids = Int32Array.from([cls, ...a, sep, ...b, sep]);
          const sample = damage(ids, seed, true, { trigramProbability: 0.5, trigramLength });
          const restored = sample.damaged.slice();
          let last = -1;
          sample.labelPositions.forEach((position, i) => {
            assert.ok(position > last, 'positions ascend');
            last = position;
            restored[position] = sample.labels[i]!;
          });
          assert.deepEqual(restored, ids);
          const wordOrder = wordOrderPositions(sample);
          assert.equal(wordOrder.length % trigramLength, 0);
          for (let i = 0; i < wordOrder.length; i += trigramLength) {
            const trigram = wordOrder.slice(i, i + trigramLength);
            assert.equal(trigram.at(-1)! - trigram[0]!, trigramLength - 1, 'consecutive');
            const separator = a.length + 1;
            assert.ok(trigram.at(-1)! < separator || trigram[0]! > separator, 'on one side of [SEP]');
            const sorted = (from: Int32Array) => trigram.map((position) => from[position]!).sort();
            assert.deepEqual(sorted(sample.damaged), sorted(ids), 'the same tokens');
          }
        },
      ),
      { seed: 1, numRuns: 500 },
    );
  });
});
