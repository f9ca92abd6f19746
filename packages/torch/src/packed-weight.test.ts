// Packed weights as plain tensors: planned before they exist, stored and restored, packed in slices, and read back; how
// close int4 is. The file runs again on AVX2 and on the baseline, which must pack the same bytes.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { aten } from './aten.js';
import { bytesPerElement, cat, full, ones, tensor, zeros } from './create.js';
import { ShapeError } from './errors.js';
import { Generator } from './generator.js';
import { randomTensor, runOnOlderInstructionSets } from './kernels.test-support.js';
import * as nn from './nn.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

const precisions = ['float32', 'bfloat16', 'int8', 'int4'] as const;
const shapes = [
  [1, 1],
  [64, 64],
  [70, 3],
  [130, 67],
  [200, 129],
] as const;

const describeTensor = (tensor: Tensor) => ({ dtype: tensor.dtype, shape: [...tensor.shape] });
const refused = (body: () => unknown, message: RegExp) =>
  assert.throws(body, (error: Error) => error instanceof ShapeError && message.test(error.message));

/** Largest |a − b|. */
const distance = (a: Tensor, b: Tensor) => a.sub(b).abs().max().item();

for (const precision of precisions)
  describe(`a weight packed as ${precision}`, () => {
    it('consists of the tensors that were foretold, and is the same when it is restored from them', () => {
      for (const [outputs, inputs] of shapes)
        scope(() => {
          const packed = nn.packLinear(randomTensor([outputs, inputs], 1, 'float32'), precision);
          const planned = nn.packedShapes(outputs, inputs, precision);
          assert.deepEqual(
            packed.tensors.map(describeTensor),
            planned.map(({ dtype, shape }) => ({ dtype, shape })),
          );
          const stored = packed.tensors.map((tensor) => tensor.clone());
          const restored = nn.packedFrom(stored, outputs, precision);
          const x = randomTensor([3, inputs], 2, 'float32');
          assert.deepEqual(nn.packedLinear(x, restored).toArray(), nn.packedLinear(x, packed).toArray());
        });
    });

    it('can be packed in slices', () => {
      for (const [outputs, inputs] of shapes.filter(([outputs]) => outputs > nn.panelWidth))
        scope(() => {
          const weight = randomTensor([outputs, inputs], 3, 'float32');
          const slices = [0, 64, 128, 192]
            .filter((first) => first < outputs)
            .map((first) => nn.packLinear(weight.narrow(0, first, Math.min(64, outputs - first)), precision));
          const whole = nn.packLinear(weight, precision);
          for (const [i, tensor] of whole.tensors.entries()) {
            const joined = cat(
              slices.map(({ tensors }) => tensors[i]!),
              0,
            );
            assert.deepEqual(describeTensor(joined), describeTensor(tensor));
            assert.deepEqual(joined.toArray(), tensor.toArray());
          }
        });
    });

    it('reads back as what it was, rounded', () => {
      for (const [outputs, inputs] of shapes)
        scope(() => {
          const weight = randomTensor([outputs, inputs], 4, 'float32');
          const got = nn.unpackLinear(nn.packLinear(weight, precision), inputs);
          assert.deepEqual(describeTensor(got), { dtype: 'float32', shape: [outputs, inputs] });
          if (precision === 'int4') return; // below
          if (precision === 'int8') {
            const steps = aten.amax(weight.abs(), [1], true).div(127);
            assert.ok(distance(weight.div(steps), got.div(steps)) < 0.50001);
          } else assert.equal(distance(got, weight.to(precision).to('float32')), 0);
        });
    });

    it('says which tensor does not fit', () => {
      const { tensors } = nn.packLinear(ones([70, 100]), precision);
      const [packed, ...others] = tensors as [Tensor, ...Tensor[]];
      const from = (given: Tensor[], outputs = 70) => nn.packedFrom(given, outputs, precision);
      refused(() => from([]), /consists of . tensors \(packed.*\), got 0/);
      refused(() => from([...tensors, packed]), /consists of .* got/);
      refused(() => from([packed.to('int64'), ...others]), /"packed" must be int32 \[2, .*, 64\], got int64/);
      refused(() => from([packed.narrow(0, 0, 1), ...others]), /"packed" must be int32 \[2, /);
      refused(() => from([packed.narrow(2, 0, 32), ...others]), /"packed" must be int32 .*, 32\]/);
      refused(() => from([zeros([2], 'int32'), ...others]), /"packed" must be int32 .* got int32 \[2\]/);
      refused(() => from([...tensors], 200), /200 output features: its tensor "packed" must be int32 \[4, /);
      for (const [i, { suffix }] of nn.packedShapes(70, 100, precision).entries()) {
        const wrong = tensors.map((tensor, at) => (at === i ? tensor.to('float64') : tensor));
        refused(() => from(wrong), new RegExp(`"${suffix}" must be .*, got float64`));
      }
      const weight = from([...tensors]);
      refused(() => nn.unpackLinear(weight, 130), /A weight \[70, 130\] packed as .* but this one is/);
      for (const size of [0, -1, 1.5, Number.NaN])
        refused(() => nn.packedShapes(size, 8, precision), /outFeatures must be a positive integer/);
    });
  });

/** A number that depends on every byte of the tensors and their places. */
function digest(tensors: readonly Tensor[]): number {
  const hash = createHash('sha256');
  for (const each of tensors) hash.update(aten['view.dtype'](each, 'uint8').toTypedArray() as Uint8Array);
  return hash.digest().readUInt32BE();
}

const normal = (shape: number[]) => aten.normal_(zeros(shape), 0, 1, new Generator(1));
const requantised = (weight: Tensor) => nn.unpackLinear(nn.packLinear(weight, 'int4'), weight.shape[1]!);

describe('a weight packed as int4', () => {
  it('takes 0.53 bytes a weight', () => {
    const bytes = nn
      .packedShapes(8192, 32768, 'int4')
      .map(({ dtype, shape }) => bytesPerElement[dtype] * shape.reduce((size, length) => size * length, 1));
    assert.equal(bytes.reduce((sum, size) => sum + size, 0) / (8192 * 32768), 0.53125);
  });

  it('is 9 % off for normal weights, whatever their size', () => {
    const weight = normal([128, 512]);
    for (const size of [1, 1e-30, 1e30]) {
      const scaled = weight.mul(size);
      const difference = requantised(scaled).sub(scaled).div(size);
      const error = Math.sqrt(difference.mul(difference).mean().item());
      assert.ok(error > 0.088 && error < 0.0915, `${size}: ${error}`);
    }
  });

  it('keeps what int4 can hold', () => {
    const weight = randomTensor([70, 200], 5, 'float32');
    const once = requantised(weight);
    assert.equal(distance(requantised(once), once), 0);
    // Each group: −8 to 7 times a power of two, or the opposite, so that the largest is on either side.
    const steps = Array.from({ length: 2 * 192 }, (_, i) => ((i * 7) % 16) - 8);
    const signed = tensor(steps, { dtype: 'float32', shape: [2, 192] });
    for (const factor of [1, -1, 2 ** -20, -(2 ** 60)])
      assert.equal(distance(requantised(signed.mul(factor)), signed.mul(factor)), 0, `${factor}`);
    assert.equal(
      requantised(zeros([3, 65]))
        .abs()
        .max()
        .item(),
      0,
    );
    assert.equal(
      requantised(full([3, 65], 1e-44))
        .abs()
        .max()
        .item(),
      0,
    );
  });

  it('has no number in a group that held one which is not finite, and keeps the others', () => {
    for (const value of [Number.NaN, Infinity, -Infinity]) {
      const weight = randomTensor([66, 130], 6, 'float32');
      const wanted = requantised(weight).toArray();
      weight.narrow(0, 65, 1).narrow(1, 70, 1).fill_(value);
      for (const [i, number] of requantised(weight).toArray().entries())
        if (i >= 65 * 130 + 64 && i < 65 * 130 + 128) assert.ok(Number.isNaN(number), `${value}: ${i}`);
        else assert.equal(number, wanted[i]);
    }
  });

  it('is the same on every CPU', () => {
    assert.equal(digest(nn.packLinear(randomTensor([130, 333], 7, 'float32'), 'int4').tensors), 3770665347);
  });
});

describe('weights in half precision', () => {
  for (const precision of precisions)
    for (const dtype of ['float16', 'bfloat16'] as const)
      it(`are packed as ${precision} like their float32 copies, ${dtype}`, () => {
        const weight = randomTensor([70, 131], 8, 'float32').to(dtype);
        const [got, wanted] = [weight, weight.to('float32')].map((each) => nn.packLinear(each, precision));
        assert.equal(digest(got!.tensors), digest(wanted!.tensors));
        const strided = weight.transpose(0, 1).contiguous().transpose(0, 1);
        assert.equal(digest(nn.packLinear(strided, precision).tensors), digest(got!.tensors));
      });
});

runOnOlderInstructionSets(import.meta.url);
