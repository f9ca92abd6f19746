// Packed weights as plain tensors: planned before they exist, stored and restored, packed in slices, and read back.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { aten } from './aten.js';
import { cat, ones, zeros } from './create.js';
import { ShapeError } from './errors.js';
import { randomTensor } from './kernels.test-support.js';
import * as nn from './nn.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

const precisions = ['float32', 'bfloat16', 'int8'] as const;
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
      refused(() => nn.unpackLinear(weight, 101), /A weight \[70, 101\] packed as .* but this one is/);
      for (const size of [0, -1, 1.5, Number.NaN])
        refused(() => nn.packedShapes(size, 8, precision), /outFeatures must be a positive integer/);
    });
  });
