// Layers' functions: dtypes of linear, layerNorm, embedding and crossEntropy.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backward, type DType, NativeError, nn, scope, type Tensor, tensor } from './index.js';

const lengthsTensor = (lengths: readonly number[]): Tensor => tensor(BigInt64Array.from(lengths, BigInt));

/** Numbers 1, 2, 3, …, with which every element is told apart; bf16 holds them up to 256. */
function counting(shape: readonly number[], dtype: DType, requiresGrad = false): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return tensor(
    Array.from({ length: count }, (_, index) => (index % 250) + 1),
    { shape, dtype, requiresGrad },
  );
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

describe('mixed precision', () => {
  it('linear computes in the dtype of x; gradients come back in the parameters’', () => {
    scope(() => {
      const x = counting([4, 3], 'float32').div(8).to('bfloat16');
      const weight = counting([2, 3], 'float32', true);
      const bias = counting([2], 'float32', true);
      const y = nn.linear(x, weight, bias);
      assert.equal(y.dtype, 'bfloat16');
      backward(y.to('float32').sum());
      assert.equal(weight.grad!.dtype, 'float32');
      assert.deepEqual(bias.grad!.toArray(), [4, 4]);
      const sums = x.to('float32').sum([0]).toArray();
      assert.deepEqual(weight.grad!.toArray(), [...sums, ...sums]);
    });
  });

  it('layerNorm computes in the dtype of its weight, with biased variance and eps inside the root', () => {
    scope(() => {
      const numbers = [1, 2, 4, 8, -3, -3, -3, -3];
      const x = tensor(numbers, { shape: [2, 4] });
      const weight = tensor([1, 2, 3, 4], { dtype: 'float64' });
      const bias = tensor([0.5, 0, -1, 2], { dtype: 'float64' });
      const y = nn.layerNorm(x, weight, bias, 0.25);
      assert.equal(y.dtype, 'float64');
      for (const [at, value] of y.toArray().entries()) {
        const row = numbers.slice(at & 4, (at & 4) + 4);
        const mean = sum(row) / 4;
        const variance = sum(row.map((number) => (number - mean) ** 2)) / 4;
        const wanted =
          ((numbers[at]! - mean) / Math.sqrt(variance + 0.25)) * [1, 2, 3, 4][at % 4]! +
          [0.5, 0, -1, 2][at % 4]!;
        assert.ok(Math.abs(value - wanted) < 1e-12, `${at}: ${value} for ${wanted}`);
      }
      assert.equal(
        nn.layerNorm(x.to('bfloat16'), weight.to('float32'), bias.to('float32'), 0.25).dtype,
        'float32',
      );
    });
  });

  it('crossEntropy of half-precision logits is summed in fp32, of doubles in float64', () => {
    scope(() => {
      const labels = lengthsTensor([0, 2]);
      const numbers = [1, 2, 3, -1, 0.5, 300];
      const reference =
        [0, 1]
          .map((row) => {
            const logits = numbers.slice(row * 3, row * 3 + 3);
            const largest = Math.max(...logits);
            const total = largest + Math.log(sum(logits.map((logit) => Math.exp(logit - largest))));
            return total - logits[row * 2]!;
          })
          .reduce((a, b) => a + b) / 2;
      for (const [dtype, result, tolerance] of [
        ['float64', 'float64', 1e-15],
        ['float32', 'float32', 1e-6],
        ['bfloat16', 'float32', 1e-6], // these logits are exact in bf16
      ] as const) {
        const loss = nn.crossEntropy(tensor(numbers, { shape: [2, 3], dtype }), labels);
        assert.equal(loss.dtype, result);
        assert.ok(Math.abs(loss.item() - reference) < tolerance, `${dtype}: ${loss.item()} for ${reference}`);
      }
      assert.throws(() => nn.crossEntropy(counting([2, 3], 'float32'), lengthsTensor([0, 3])), NativeError);
    });
  });

  it('embedding refuses ids outside its table', () => {
    scope(() => {
      const table = counting([3, 2], 'float32');
      assert.deepEqual(nn.embedding(table, lengthsTensor([2, 0])).toArray(), [5, 6, 1, 2]);
      for (const id of [3, -1]) assert.throws(() => nn.embedding(table, lengthsTensor([id])), NativeError);
    });
  });
});
