// Products with packed weights, against float64 products of the numbers that each precision keeps. int8 is quantised
// here again in plain arithmetic, so that its products are held to rounding errors and not to the coarseness of int8;
// for int4 the weights are those that were kept (packed-weight.test.ts tests which).
// The file runs again on AVX2, on the baseline, and on AVX-512 without its bf16 and int8 instructions.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { aten } from './aten.js';
import { full, ones, tensor, zeros } from './create.js';
import { NativeError } from './errors.js';
import {
  assertClose,
  assertSameForAnyThreadCount,
  randomTensor,
  runOnOlderInstructionSets,
} from './kernels.test-support.js';
import * as nn from './nn.js';
import { scope } from './scope.js';
import { callOperator, type Tensor } from './tensor.js';

const precisions = ['float32', 'bfloat16', 'int8', 'int4'] as const;
const inputTypes = ['float32', 'bfloat16'] as const;

/** [rows, K, N]: K around groups of 2, 4 and 64 and past one block of steps, N around panels of 64. */
const shapes = [
  [1, 1, 1],
  [5, 3, 64],
  [6, 64, 65],
  [7, 66, 1],
  [97, 130, 100],
  [200, 257, 63],
  [1, 4096, 128],
  [3, 4099, 70],
  [8, 8321, 5],
] as const;

/** A float64 product and how far each element may be from it. */
interface Product {
  values: Tensor;
  slack: Tensor;
}

/** Rows of numbers as int8 keeps them. */
interface Quantised {
  /** −127 … 127 */
  steps: Tensor;
  /** 1 where rounding in another order may give the next step. */
  unsure: Tensor;
  /** [rows, 1] */
  scale: Tensor;
}

function quantised(x: Tensor): Quantised {
  const [rows, columns] = x.shape as [number, number];
  const values = x.toArray();
  const [steps, unsure, scale] = [[], [], []] as [number[], number[], number[]];
  for (let row = 0; row < rows; row++) {
    const numbers = values.slice(row * columns, (row + 1) * columns);
    const largest = numbers.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    scale.push(largest / 127);
    for (const value of numbers) {
      const place = largest > 0 ? value * (127 / largest) : 0;
      steps.push(Math.round(place));
      unsure.push(Math.abs(Math.abs(place % 1) - 0.5) < 1e-4 ? 1 : 0);
    }
  }
  const matrix = (data: number[]) => tensor(data, { dtype: 'float64', shape: [rows, columns] });
  return {
    steps: matrix(steps),
    unsure: matrix(unsure),
    scale: tensor(scale, { dtype: 'float64', shape: [rows, 1] }),
  };
}

const times = (a: Tensor, b: Tensor) => a.matmul(b.transpose(0, 1));

/** x·Wᵀ of the numbers that `precision` keeps of both. */
function product(x: Tensor, weight: Tensor, precision: nn.Precision): Product {
  if (precision === 'int8') {
    const [a, w] = [quantised(x), quantised(weight)];
    const scale = times(a.scale, w.scale);
    const oneStep = times(a.unsure, w.steps.abs()).add(times(a.steps.abs(), w.unsure));
    const values = times(a.steps, w.steps).mul(scale);
    return { values, slack: oneStep.mul(scale).add(values.abs().mul(1e-6)) };
  }
  if (precision === 'int4') {
    const a = quantised(x);
    const w = nn.unpackLinear(nn.packLinear(weight, precision), weight.shape[1]!).to('float64');
    const rounding = times(a.steps.abs(), w.abs()).mul(3e-7); // sums over groups are fp32
    return {
      values: times(a.steps, w).mul(a.scale),
      slack: times(a.unsure, w.abs()).add(rounding).mul(a.scale),
    };
  }
  const [a, w] = [x, weight].map((input) => input.to(precision).to('float64')) as [Tensor, Tensor];
  return { values: times(a, w), slack: times(a.abs(), w.abs()).mul(3e-7) }; // sums are fp32
}

/** Asserts |got − wanted| ≤ slack + what rounding to the result's dtype costs. */
function assertWithin(got: Tensor, { values, slack }: Product, what: string): void {
  assert.deepEqual(got.shape, values.shape, what);
  const rounding = got.dtype === 'bfloat16' ? 1.01 * 2 ** -8 : 1e-6;
  const [wanted, allowed] = [values.toArray(), slack.toArray()];
  for (const [i, value] of got.toArray().entries())
    assert.ok(
      Math.abs(value - wanted[i]!) <= 1.2 * allowed[i]! + rounding * Math.abs(wanted[i]!) + 1e-7,
      `${what} element ${i}: got ${value}, expected ${wanted[i]} within ${allowed[i]} and ${rounding} of it`,
    );
}

describe('packed linear', () => {
  for (const precision of precisions)
    for (const type of inputTypes)
      it(`is x·Wᵀ + b, with gelu if asked, ${precision} weights, ${type} x`, () => {
        for (const [seed, [rows, inputs, outputs]] of shapes.entries())
          scope(() => {
            const x = randomTensor([rows, inputs], seed, type);
            const weight = randomTensor([outputs, inputs], seed + 50, 'float32');
            const bias = randomTensor([outputs], seed + 80, 'float32');
            const packed = nn.packLinear(weight, precision);
            assert.deepEqual([packed.precision, packed.outFeatures], [precision, outputs]);
            const plain = product(x, weight, precision);
            for (const added of [undefined, bias])
              for (const activation of [undefined, 'gelu'] as const) {
                const sum = added ? plain.values.add(added.to('float64')) : plain.values;
                const values = activation ? sum.gelu() : sum;
                const got = nn.packedLinear(x, packed, added, activation);
                assert.equal(got.dtype, type);
                const what = `[${rows},${inputs}]·[${outputs},${inputs}] ${added ? 'bias' : ''} ${activation ?? ''}`;
                assertWithin(got, { values, slack: plain.slack }, what);
              }
          });
      });

  for (const precision of precisions)
    it(`gives a row the same bits whatever the other rows and the number of threads, ${precision}`, () => {
      const weight = nn.packLinear(randomTensor([150, 301], 1, 'float32'), precision);
      for (const type of inputTypes)
        scope(() => {
          const x = randomTensor([200, 301], 2, type);
          const whole = nn.packedLinear(x, weight);
          for (const row of [0, 4, 95, 96, 199]) {
            const wanted = whole.narrow(0, row, 1).toArray();
            for (let count = 1; count <= 7 && row + count <= 200; count++) {
              const some = nn.packedLinear(x.narrow(0, row, count), weight);
              assert.deepEqual(some.narrow(0, 0, 1).toArray(), wanted, `row ${row} of ${count}, ${type}`);
            }
            const mates = full([9, 301], 1e4).to(type);
            const last = nn.packedLinear(aten.cat([mates, x.narrow(0, row, 1)], 0), weight);
            assert.deepEqual(last.narrow(0, 9, 1).toArray(), wanted, `row ${row} with others, ${type}`);
          }
          assertSameForAnyThreadCount(() => nn.packedLinear(x, weight, undefined, 'gelu'));
        });
    });

  for (const precision of precisions)
    it(`takes any shape and stride of x and of the weight, ${precision}`, () => {
      const weight = randomTensor([70, 34], 3, 'float32');
      const packed = nn.packLinear(weight, precision);
      const x = randomTensor([34, 6], 4, 'float32');
      const rows = x.transpose(0, 1);
      const wanted = nn.packedLinear(rows.contiguous(), packed);
      assertClose(nn.packedLinear(rows, packed), wanted, 0);
      assertClose(nn.packedLinear(rows.reshape(2, 3, 34), packed), wanted.reshape(2, 3, 70), 0);
      assertClose(nn.packedLinear(rows.select(0, 4).contiguous(), packed), wanted.select(0, 4), 0);
      const strided = randomTensor([34, 70], 5, 'float32').transpose(0, 1);
      assertClose(
        nn.packedLinear(rows, nn.packLinear(strided, precision)),
        nn.packedLinear(rows, nn.packLinear(strided.contiguous(), precision)),
        0,
      );
      // A pair of bf16 numbers that does not begin on a boundary of four bytes.
      const half = randomTensor([35], 6, 'bfloat16').narrow(0, 1, 34);
      assertClose(nn.packedLinear(half, packed), nn.packedLinear(half.clone(), packed), 0);
      assert.deepEqual(nn.packedLinear(zeros([0, 34]), packed).shape, [0, 70]);
      assert.deepEqual(nn.packedLinear(zeros([2, 0, 34]), packed).shape, [2, 0, 70]);
    });

  for (const precision of precisions)
    it(`takes zeros, very large and very small numbers, ${precision}`, () => {
      const bias = randomTensor([66], 7, 'float32');
      const weight = randomTensor([66, 10], 8, 'float32');
      const x = randomTensor([7, 10], 9, 'float32');
      const none = nn.packLinear(zeros([66, 10]), precision);
      assertClose(nn.packedLinear(x, none, bias), aten.expand(bias, [7, 66]), 0);
      const packed = nn.packLinear(weight, precision);
      assertClose(nn.packedLinear(zeros([7, 10]), packed, bias), aten.expand(bias, [7, 66]), 0);
      for (const size of [1e18, 1e-15]) {
        const [large, largeWeight] = [x.mul(size), weight.mul(size)];
        const got = nn.packedLinear(large, nn.packLinear(largeWeight, precision));
        const { values, slack } = product(large, largeWeight, precision);
        const unit = 1 / size / size;
        const relative = { values: values.mul(unit), slack: slack.mul(unit) };
        assertWithin(got.to('float64').mul(unit).to('float32'), relative, `${size}`);
      }
      // Below the normal range there is nothing to be exact about, but nothing may blow up either.
      for (const [a, w] of [
        [x.mul(1e-40), weight],
        [x, weight.mul(1e-40)],
      ] as const)
        assertClose(nn.packedLinear(a, nn.packLinear(w, precision)), zeros([7, 66]), 1e-30);
    });

  for (const precision of precisions)
    it(`passes on what is not finite, and leaves other rows and features as they are, ${precision}`, () => {
      for (const value of [Number.NaN, Infinity, -Infinity]) {
        const weight = randomTensor([66, 10], 10, 'float32');
        const x = randomTensor([7, 10], 11, 'float32');
        const wanted = nn.packedLinear(x, nn.packLinear(weight, precision)).toArray();
        const spoilt = (matrix: Tensor, row: number) => {
          const copy = matrix.clone();
          copy.narrow(0, row, 1).narrow(1, 3, 1).fill_(value);
          return copy;
        };
        const badRow = nn.packedLinear(spoilt(x, 2), nn.packLinear(weight, precision)).toArray();
        const badFeature = nn.packedLinear(x, nn.packLinear(spoilt(weight, 65), precision)).toArray();
        for (const [i, number] of wanted.entries()) {
          if (Math.floor(i / 66) === 2) assert.ok(!Number.isFinite(badRow[i]!), `${value} in x: ${i}`);
          else assert.equal(badRow[i], number);
          if (i % 66 === 65) assert.ok(!Number.isFinite(badFeature[i]!), `${value} in the weight: ${i}`);
          else assert.equal(badFeature[i], number);
        }
      }
    });

  it('gives the same bits on every CPU, int4', () => {
    const [rows, inputs, outputs] = [7, 200, 66];
    const packed = nn.packLinear(randomTensor([outputs, inputs], 12, 'float32'), 'int4');
    const weight = nn.unpackLinear(packed, inputs).toArray();
    // Integers of which the largest is 127: quantising keeps them, and the scale of a row is 1.
    const x = randomTensor([rows, inputs], 13, 'float32')
      .toArray()
      .map((value) => Math.trunc(20 * value));
    for (let row = 0; row < rows; row++) x[row * inputs + 9 * row] = row % 2 ? 127 : -127;
    const got = nn.packedLinear(tensor(x, { dtype: 'float32', shape: [rows, inputs] }), packed).toArray();
    for (let row = 0; row < rows; row++)
      for (let output = 0; output < outputs; output++) {
        let sum = 0;
        for (let first = 0; first < inputs; first += 64) {
          let group = 0; // exact: at most 24 bits
          for (let k = first; k < Math.min(inputs, first + 64); k++)
            group += x[row * inputs + k]! * weight[output * inputs + k]!;
          assert.equal(Math.fround(group), group);
          sum = Math.fround(sum + group);
        }
        assert.equal(got[row * outputs + output], sum, `row ${row}, output ${output}`);
      }
  });

  it('says what does not fit', () => {
    const packed = nn.packLinear(ones([70, 8]), 'int8');
    const refused = (body: () => unknown, message: RegExp) =>
      assert.throws(body, (error: Error) => error instanceof NativeError && message.test(error.message));
    refused(() => nn.packLinear(ones([8]), 'int8'), /expected a weight \[N, K\], got \[8\]/);
    refused(() => nn.packLinear(ones([0, 8]), 'int8'), /expected a weight \[N, K\], got \[0, 8\]/);
    refused(() => callOperator('openplug::pack_linear', ones([2, 8]), 'float16'), /not as float16/);
    refused(
      () => nn.packedLinear(ones([2, 9]), packed),
      /need a packed weight \[2, 3, 64\], got \[2, 2, 64\]/,
    );
    refused(() => nn.packedLinear(ones([2, 8], 'float64'), packed), /x must be float32 or bfloat16/);
    refused(() => nn.packedLinear(ones([2, 8], 'int32'), packed), /x must be float32 or bfloat16/);
    refused(() => nn.packedLinear(ones([2, 8]), packed, ones([69])), /expected bias \[70\], got \[69\]/);
    refused(() => nn.packedLinear(ones([2, 8]), packed, ones([1, 70])), /expected bias \[70\]/);
    refused(
      () => nn.packedLinear(ones([2, 8]), { ...packed, precision: 'float32' }),
      /not one that pack_linear made as float/i,
    );
    refused(() => nn.packedLinear(ones([2, 8]), { ...packed, outFeatures: 80 }), /has 70 features, not 80/);
    const [numbers, scale] = nn.packLinear(ones([70, 100]), 'int4').tensors as [Tensor, Tensor];
    const int4 = (...tensors: Tensor[]) =>
      nn.packedLinear(ones([2, 100]), { tensors, precision: 'int4', outFeatures: 70 });
    assert.equal(int4(numbers, scale).numel, 140);
    refused(() => int4(numbers), /not one that pack_linear made as int4/);
    refused(() => int4(numbers.narrow(1, 0, 8).contiguous(), scale), /need a packed weight \[2, 16, 64\]/);
    refused(() => int4(numbers, scale.narrow(1, 0, 1).contiguous()), /need bfloat16 scales \[2, 2, 64\]/);
    refused(() => int4(numbers, scale.to('float32')), /need bfloat16 scales/);
    refused(() => int4(numbers.transpose(0, 1).contiguous().transpose(0, 1), scale), /must be contiguous/);
  });
});

runOnOlderInstructionSets(import.meta.url, [{ ONEDNN_MAX_CPU_ISA: 'AVX512_CORE' }]);
