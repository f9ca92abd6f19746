// Attention of single tokens to kept keys and values, against library operators in float64. What must not be read
// (places that are not filled yet, keys that are not visible) holds NaN.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { aten } from './aten.js';
import { empty, full, ones, tensor } from './create.js';
import { NativeError } from './errors.js';
import {
  assertClose,
  assertSameForAnyThreadCount,
  type FloatType,
  floatTypes,
  randomTensor,
  runOnOlderInstructionSets,
} from './kernels.test-support.js';
import * as nn from './nn.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

/** Largest accepted |difference| / (1 + |expected|) by dtype; bfloat16 has 8 bits. */
const budget: Record<FloatType, number> = { float64: 1e-12, float32: 3e-6, bfloat16: 4e-3 };
const scale = 0.35;

const int64 = (values: number[]) => tensor(values, { dtype: 'int64' });

/** Random [rows, heads, length, depth], NaN from place `filled[row]` on. */
function kept(shape: [number, number, number, number], filled: number[], seed: number, dtype: FloatType) {
  const all = randomTensor(shape, seed, dtype);
  for (const [row, count] of filled.entries())
    all
      .narrow(0, row, 1)
      .narrow(2, count, shape[2] - count)
      .fill_(Number.NaN);
  return all;
}

/** softmax(q·kᵀ·scale)·v in float64 of one row: q [H, D], keys and values [H, count, D] → [H·D]. */
function plainRow(q: Tensor, keys: Tensor, values: Tensor): Tensor {
  const [wide, k, v] = [q, keys, values].map((input) => input.to('float64')) as [Tensor, Tensor, Tensor];
  const scores = wide.unsqueeze(1).matmul(k.transpose(1, 2)).mul(scale);
  return scores.softmax(-1).matmul(v).reshape(-1);
}

const row = (x: Tensor, at: number) => x.narrow(0, at, 1).squeeze(0);

/** [heads, depth, length, place of each row's new token]; the last place of all is a cache that becomes full. */
const selfCases: [number, number, number, number[]][] = [
  [1, 1, 1, [0]],
  [3, 8, 7, [0, 6, 3]],
  [2, 33, 20, [19, 19]],
  [8, 64, 300, [299, 0, 150, 7]],
];

describe('selfAttentionStep', () => {
  for (const dtype of floatTypes)
    it(`agrees with plain attention to the kept tokens and itself, and keeps its token, ${dtype}`, () => {
      for (const [heads, depth, length, positions] of selfCases)
        scope(() => {
          const numRows = positions.length;
          const width = heads * depth;
          const projected = randomTensor([numRows, 3 * width], 1, dtype);
          const shape: [number, number, number, number] = [numRows, heads, length, depth];
          const [keys, values] = [2, 3].map((seed) => kept(shape, positions, seed, dtype)) as [
            Tensor,
            Tensor,
          ];
          const before = [keys, values].map((each) => each.clone());
          const got = nn.selfAttentionStep(projected, keys, values, int64(positions), scale);
          assert.deepEqual([got.dtype, got.shape], [dtype, [numRows, width]]);
          for (const [b, position] of positions.entries()) {
            const [q, k, v] = [0, 1, 2].map((part) =>
              row(projected, b)
                .narrow(0, part * width, width)
                .reshape(heads, depth),
            ) as [Tensor, Tensor, Tensor];
            const filled = [k, v].map((token, which) => {
              const earlier = row(before[which]!, b).narrow(1, 0, position);
              return aten.cat([earlier, token.unsqueeze(1)], 1);
            }) as [Tensor, Tensor];
            assertClose(row(got, b), plainRow(q, ...filled), budget[dtype], `row ${b} of ${shape}`);
            for (const [which, cache] of [keys, values].entries()) {
              assertClose(row(cache, b).narrow(1, 0, position + 1), filled[which]!, 0);
              const rest = row(cache, b).narrow(1, position + 1, length - position - 1);
              assert.ok(rest.toArray().every(Number.isNaN), 'later places are not written');
            }
          }
        });
    });

  it('takes strided projections', () => {
    const wide = randomTensor([2, 48], 4).transpose(0, 1).contiguous().transpose(0, 1);
    const cache = () => kept([2, 2, 3, 8], [1, 2], 5, 'float64');
    const run = (x: Tensor) => nn.selfAttentionStep(x, cache(), cache(), int64([1, 2]), scale);
    assertClose(run(wide), run(wide.contiguous()), 0);
  });

  it('does not overflow for huge scores, and keeps NaN in its row and head', () => {
    for (const dtype of ['float64', 'float32', 'bfloat16'] as const) {
      const projected = full([2, 3 * 8], 1e4).to(dtype);
      const [keys, values] = [ones([2, 2, 3, 4], dtype), full([2, 2, 3, 4], 3).to(dtype)];
      projected.narrow(0, 1, 1).narrow(1, 2, 1).fill_(Number.NaN); // query of row 1, head 0
      const got = nn.selfAttentionStep(projected, keys, values, int64([2, 2]), 1);
      const wanted = projected.narrow(0, 0, 1).narrow(1, 16, 8); // the new key's score is the largest by far
      assertClose(got.narrow(0, 0, 1), wanted, 0);
      assert.deepEqual(got.narrow(0, 1, 1).toArray().map(Number.isNaN), [
        ...new Array(4).fill(true),
        ...new Array(4).fill(false),
      ]);
    }
  });

  it('does not depend on the number of threads or on the other rows', () => {
    for (const dtype of floatTypes) {
      const inputs = () =>
        [
          randomTensor([3, 3 * 128], 6, dtype),
          kept([3, 4, 200, 32], [150, 199, 1], 7, dtype),
          kept([3, 4, 200, 32], [150, 199, 1], 8, dtype),
        ] as const;
      const all = () => nn.selfAttentionStep(...inputs(), int64([150, 199, 1]), scale);
      assertSameForAnyThreadCount(all);
      const [x, keys, values] = inputs().map((input) => input.narrow(0, 1, 1).contiguous());
      assertClose(nn.selfAttentionStep(x!, keys!, values!, int64([199]), scale), all().narrow(0, 1, 1), 0);
    }
  });

  it('takes no rows at all, and says what does not fit', () => {
    const none = nn.selfAttentionStep(ones([0, 12]), empty([0, 2, 0, 2]), empty([0, 2, 0, 2]), int64([]), 1);
    assert.deepEqual(none.shape, [0, 4]);
    const cache = ones([2, 2, 5, 4]);
    const run = (x: Tensor, keys = cache, values = keys, positions = int64([0, 4])) =>
      nn.selfAttentionStep(x, keys, values, positions, 1);
    const x = ones([2, 24]);
    const refused = (body: () => unknown, message: RegExp) =>
      assert.throws(body, (error: Error) => error instanceof NativeError && message.test(error.message));
    refused(() => run(x, cache, cache, int64([0, 5])), /the cache holds 5 tokens, row 1 is at position 5/);
    refused(() => run(x, cache, cache, int64([-1, 0])), /row 0 is at position -1/);
    refused(() => run(x, cache, cache, int64([0])), /positions must be contiguous int64 \[2\]/);
    refused(() => run(x, cache, cache, ones([2])), /positions must be contiguous int64 \[2\], got Float/i);
    refused(() => run(ones([3, 24]), cache, cache, int64([0, 0, 0])), /the cache has 2 rows, the batch 3/);
    refused(() => run(ones([2, 16])), /expected projections \[B, 24\]/);
    refused(() => run(x.to('float64')), /must have one dtype/);
    refused(() => run(x, cache, ones([2, 2, 6, 4])), /must be contiguous \[R, H, L, D\]/);
    refused(() => run(x, cache.transpose(0, 1)), /must be contiguous/);
    refused(() => run(x.to('int32'), cache.to('int32')), /expected float32, float64 or bfloat16/);
  });
});

describe('crossAttentionStep', () => {
  const visible = [5, 1, 300];
  const sources = [2, 0, 1, 1, 2]; // shared, and not in order
  const memoryOf = (depth: number, dtype: FloatType) => {
    const shape: [number, number, number, number] = [3, 3, 300, depth];
    return {
      keys: kept(shape, visible, 11, dtype),
      values: kept(shape, visible, 12, dtype),
      visible: int64(visible),
      sources: int64(sources),
      scale,
    };
  };

  for (const dtype of floatTypes)
    it(`agrees with plain attention to the visible part of each row's source, ${dtype}`, () => {
      for (const depth of [1, 8, 33])
        scope(() => {
          const query = randomTensor([5, 3 * depth], 13, dtype);
          const memory = memoryOf(depth, dtype);
          const got = nn.crossAttentionStep(query, memory);
          assert.deepEqual([got.dtype, got.shape], [dtype, query.shape]);
          for (const [b, source] of sources.entries()) {
            const [keys, values] = [memory.keys, memory.values].map((each) =>
              row(each, source).narrow(1, 0, visible[source]!),
            ) as [Tensor, Tensor];
            const wanted = plainRow(row(query, b).reshape(3, depth), keys, values);
            assertClose(row(got, b), wanted, budget[dtype], `row ${b}, depth ${depth}`);
          }
        });
    });

  it('does not depend on the number of threads', () => {
    for (const dtype of floatTypes)
      assertSameForAnyThreadCount(() =>
        nn.crossAttentionStep(randomTensor([5, 99], 14, dtype), memoryOf(33, dtype)),
      );
  });

  it('takes no rows at all, and says what does not fit', () => {
    const memory = memoryOf(4, 'float32');
    const none = nn.crossAttentionStep(ones([0, 12]), { ...memory, sources: int64([]) });
    assert.deepEqual(none.shape, [0, 12]);
    const run = (changes: Partial<nn.StepMemory>, query = ones([5, 12])) =>
      nn.crossAttentionStep(query, { ...memory, ...changes });
    const refused = (body: () => unknown, message: RegExp) =>
      assert.throws(body, (error: Error) => error instanceof NativeError && message.test(error.message));
    refused(() => run({ sources: int64([0, 0, 3, 0, 0]) }), /row 2 has source 3 of 3/);
    refused(() => run({ sources: int64([0, -1, 0, 0, 0]) }), /row 1 has source -1 of 3/);
    refused(() => run({ sources: int64([0]) }), /sources must be contiguous int64 \[5\]/);
    refused(() => run({ visible: int64([1, 0, 2]) }), /source 1 shows 0 keys, expected 1 to 300/);
    refused(() => run({ visible: int64([1, 1, 301]) }), /source 2 shows 301 keys/);
    refused(() => run({ visible: int64([1, 1]) }), /visible must be contiguous int64 \[3\]/);
    refused(() => run({}, ones([5, 13])), /expected projections \[B, 12\]/);
    refused(() => run({}, ones([5, 12], 'float64')), /must have one dtype/);
  });
});

runOnOlderInstructionSets(import.meta.url);
