// Layers' functions: packed rows to heads and back, and dtypes of linear, layerNorm, embedding and crossEntropy.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  aten,
  backward,
  cat,
  type DType,
  NativeError,
  nn,
  noGrad,
  scope,
  type Tensor,
  tensor,
} from './index.js';

const lengthsTensor = (lengths: readonly number[]): Tensor => tensor(BigInt64Array.from(lengths, BigInt));

/** Numbers 1, 2, 3, …, with which every element is told apart; bf16 holds them up to 256. */
function counting(shape: readonly number[], dtype: DType, requiresGrad = false): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return tensor(
    Array.from({ length: count }, (_, index) => (dtype === 'bool' ? index % 2 : (index % 250) + 1)),
    { shape, dtype, requiresGrad },
  );
}

/** What split_heads is defined as, by library operators: cut, pad with zeros, move the heads forward. */
function plainSplit(
  x: Tensor,
  lengths: readonly number[],
  maxLength: number,
  heads: number,
  parts: number,
): Tensor[] {
  const depth = x.shape[1]! / heads / parts;
  return Array.from({ length: parts }, (_, part) => {
    let start = 0;
    const rows = lengths.map((length) => {
      const row = x.narrow(0, start, length).narrow(1, part * heads * depth, heads * depth);
      start += length;
      const padded = aten.constant_pad_nd(row, [0, 0, 0, maxLength - length]);
      return padded.reshape(1, maxLength, heads, depth).permute(0, 2, 1, 3);
    });
    return cat(rows);
  });
}

const dtypes = ['float32', 'float64', 'bfloat16', 'float16', 'int64', 'int32', 'uint8', 'bool'] as const;

const heads = fc.record({
  lengths: fc.array(fc.nat(6), { minLength: 1, maxLength: 5 }),
  spare: fc.nat(3),
  heads: fc.integer({ min: 1, max: 4 }),
  depth: fc.integer({ min: 1, max: 9 }),
  parts: fc.integer({ min: 1, max: 3 }),
  dtype: fc.constantFrom(...dtypes),
});

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

describe('splitHeads', () => {
  it('equals plain operators, for any lengths (empty rows too), shapes and dtypes', () => {
    fc.assert(
      fc.property(heads, ({ lengths, spare, heads, depth, parts, dtype }) =>
        scope(() => {
          const maxLength = Math.max(1, ...lengths) + spare;
          const x = counting([sum(lengths), parts * heads * depth], dtype);
          const got = nn.splitHeads(x, lengthsTensor(lengths), maxLength, heads, parts);
          const wanted = plainSplit(x, lengths, maxLength, heads, parts);
          assert.equal(got.length, parts);
          for (const [part, tensor] of got.entries()) {
            assert.equal(tensor.dtype, dtype);
            assert.deepEqual(tensor.shape, [lengths.length, heads, maxLength, depth]);
            assert.deepEqual(tensor.toArray(), wanted[part]!.toArray());
          }
        }),
      ),
      { numRuns: 150 },
    );
  });

  it('takes inputs of any strides', () => {
    scope(() => {
      const x = counting([12, 5], 'float32').transpose(0, 1); // [5, 12]
      const [got] = nn.splitHeads(x, lengthsTensor([2, 3]), 3, 2, 1);
      assert.deepEqual(got!.toArray(), plainSplit(x, [2, 3], 3, 2, 1)[0]!.toArray());
    });
  });

  it('has the gradients of finite differences and of plain operators', () => {
    const lengths = [3, 0, 4, 1];
    scope(() => {
      const weight = (shape: readonly number[]): Tensor => counting(shape, 'float64').div(17);
      const value = (split: typeof plainSplit): Tensor => {
        const [q, k, v] = split(x, lengths, 5, 2, 3) as [Tensor, Tensor, Tensor];
        // The unused part of the last dimension of `k` makes one gradient arrive through a slice.
        const mixed = q.mul(v).add(q.mul(q).mul(weight(q.shape)));
        return mixed
          .add(k.narrow(3, 0, 1))
          .mul(weight(mixed.shape))
          .sum();
      };
      const fused = (): Tensor =>
        value((input, _, maxLength, count, parts) =>
          nn.splitHeads(input, lengthsTensor(lengths), maxLength, count, parts),
        );
      const x = counting([8, 18], 'float64', true);
      backward(fused());
      const exact = x.grad!.toArray();
      x.grad = undefined;
      backward(value(plainSplit));
      assert.deepEqual(exact, x.grad!.toArray());
      noGrad(() => {
        for (let at = 0; at < x.numel; at += 5) {
          const shifted = (by: number): number => {
            x.detach().reshape(-1).narrow(0, at, 1).add_(by);
            return fused().item();
          };
          // The function is quadratic, so central differences are exact for any step.
          const [above, below] = [shifted(0.5), shifted(-1)];
          shifted(0.5);
          const numeric = above - below;
          assert.ok(
            Math.abs(numeric - exact[at]!) < 1e-8 * (1 + Math.abs(exact[at]!)),
            `${at}: ${exact[at]} for ${numeric}`,
          );
        }
      });
    });
  });

  it('gives a gradient when only one part is used', () => {
    scope(() => {
      const x = counting([3, 12], 'float32', true);
      const parts = nn.splitHeads(x, lengthsTensor([1, 2]), 2, 2, 3);
      backward(parts[1]!.sum());
      const row = [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0];
      assert.deepEqual(x.grad!.toArray(), [...row, ...row, ...row]);
    });
  });

  it('leaves tokens past the last row out', () => {
    const x = counting([5, 12], 'float32');
    const lengths = lengthsTensor([2, 1]); // two tokens of filler
    const parts = nn.splitHeads(x, lengths, 2, 2, 3);
    const rows = nn.splitHeads(x.narrow(0, 0, 3), lengths, 2, 2, 3);
    for (const [index, part] of parts.entries()) assert.deepEqual(part.toArray(), rows[index]!.toArray());
  });

  it('refuses lengths and shapes that do not fit', () => {
    const x = counting([5, 12], 'float32');
    const split = (lengths: Tensor, maxLength = 5, count = 2, parts = 3): Tensor[] =>
      nn.splitHeads(x, lengths, maxLength, count, parts);
    const refused = (body: () => unknown, pattern: RegExp): void =>
      assert.throws(
        body,
        (error) => error instanceof NativeError && pattern.test(error.message),
        `${pattern}`,
      );
    refused(() => split(lengthsTensor([2, 4])), /sum to 6.*5 packed/);
    refused(() => split(lengthsTensor([6, -1])), /length 6|length -1/);
    refused(() => split(lengthsTensor([2, 3]), 2), /row 1 has length 3, expected 0 to 2/);
    refused(() => split(tensor(Int32Array.of(2, 3))), /int64/);
    refused(() => split(lengthsTensor([2, 0, 3, 0]).reshape(2, 2)), /int64 vector/);
    refused(() => split(lengthsTensor([2, 3]), 5, 5), /multiple/);
    refused(() => split(lengthsTensor([2, 3]), 5, 0), /multiple/);
    refused(() => nn.splitHeads(x.reshape(-1), lengthsTensor([2, 3]), 5, 2, 3), /features|dimension|tokens/i);
  });
});

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
