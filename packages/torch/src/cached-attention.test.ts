// Attention of single tokens to kept keys and values, against library operators in float64. What must not matter
// (places that are not filled yet, keys that are not visible) holds NaN.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { aten } from './aten.js';
import { full, ones, tensor, zeros } from './create.js';
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

/** Dtypes of queries, and of what they attend to. */
const pairs: [FloatType, FloatType][] = [
  ...floatTypes.map((dtype): [FloatType, FloatType] => [dtype, dtype]),
  ['float32', 'bfloat16'],
];

const int64 = (values: number[]) => tensor(values, { dtype: 'int64' });

type Shape = [rows: number, heads: number, length: number, depth: number];

/** Keys [R, H, L, D] in groups of 16 as the kernels keep them, by library operators; places past the last are NaN. */
function grouped(keys: Tensor): Tensor {
  const [rows, heads, length, depth] = keys.shape as Shape;
  const groups = Math.ceil(length / 16);
  const padded = aten.constant_pad_nd(keys, [0, 0, 0, 16 * groups - length], Number.NaN);
  return padded.reshape(rows, heads, groups, 16, depth).transpose(3, 4).contiguous();
}

/** The other way: [R, H, ⌈L/16⌉, D, 16] → [R, H, L, D]. */
function ungrouped(keys: Tensor, length: number): Tensor {
  const [rows, heads, groups, depth] = keys.shape as [number, number, number, number, number];
  return keys
    .transpose(3, 4)
    .reshape(rows, heads, 16 * groups, depth)
    .narrow(2, 0, length)
    .contiguous();
}

/** Random keys and values, NaN from place `filled[row]` on: plain [R, H, L, D], and as they are kept. */
function made(shape: Shape, filled: number[], seed: number, dtype: FloatType) {
  const plain = [seed, seed + 1].map((each) => {
    const all = randomTensor(shape, each, dtype);
    for (const [row, count] of filled.entries())
      all
        .narrow(0, row, 1)
        .narrow(2, count, shape[2] - count)
        .fill_(Number.NaN);
    return all;
  }) as [Tensor, Tensor];
  return { plain, kept: { keys: grouped(plain[0]), values: plain[1].clone() } };
}

/** softmax(q·kᵀ·scale)·v in float64 of one row: q [H, D], keys and values [H, count, D] → [H·D]. */
function plainRow(q: Tensor, keys: Tensor, values: Tensor): Tensor {
  const [wide, k, v] = [q, keys, values].map((input) => input.to('float64')) as [Tensor, Tensor, Tensor];
  const scores = wide.unsqueeze(1).matmul(k.transpose(1, 2)).mul(scale);
  return scores.softmax(-1).matmul(v).reshape(-1);
}

const refused = (body: () => unknown, message: RegExp) =>
  assert.throws(body, (error: Error) => error instanceof NativeError && message.test(error.message));

const row = (x: Tensor, at: number) => x.narrow(0, at, 1).squeeze(0);

/** [heads, depth, length, place of each row's new token]; the last place of all is a cache that becomes full. */
const selfCases: [number, number, number, number[]][] = [
  [1, 1, 1, [0]],
  [3, 8, 7, [0, 6, 3]],
  [2, 33, 20, [19, 19]],
  [2, 16, 33, [15, 16, 31, 32]],
  [1, 83, 18, [16, 17]],
  [8, 64, 300, [299, 0, 150, 7]],
];

describe('selfAttentionStep', () => {
  for (const [dtype, keptDType] of pairs)
    it(`agrees with plain attention to the kept tokens and itself, and keeps its token, ${dtype} to ${keptDType}`, () => {
      for (const [heads, depth, length, positions] of selfCases)
        scope(() => {
          const numRows = positions.length;
          const width = heads * depth;
          const projected = randomTensor([numRows, 3 * width], 1, dtype);
          const shape: Shape = [numRows, heads, length, depth];
          const { plain, kept } = made(shape, positions, 2, keptDType);
          const got = nn.selfAttentionStep(projected, kept, int64(positions), scale);
          assert.deepEqual([got.dtype, got.shape], [dtype, [numRows, width]]);
          const after = [ungrouped(kept.keys, length), kept.values];
          for (const [b, position] of positions.entries()) {
            const [q, k, v] = [0, 1, 2].map((part) =>
              row(projected, b)
                .narrow(0, part * width, width)
                .reshape(heads, depth),
            ) as [Tensor, Tensor, Tensor];
            const filled = [k, v].map((token, which) => {
              const earlier = row(plain[which]!, b).narrow(1, 0, position);
              return aten.cat([earlier, token.to(keptDType).unsqueeze(1)], 1);
            }) as [Tensor, Tensor];
            assertClose(row(got, b), plainRow(q, ...filled), budget[dtype], `row ${b} of ${shape}`);
            for (const [which, cache] of after.entries()) {
              assertClose(row(cache, b).narrow(1, 0, position + 1), filled[which]!, 0);
              const rest = row(cache, b).narrow(1, position + 1, length - position - 1);
              assert.ok(rest.toArray().every(Number.isNaN), 'later places are not written');
            }
          }
        });
    });

  it('takes strided projections', () => {
    const wide = randomTensor([2, 48], 4).transpose(0, 1).contiguous().transpose(0, 1);
    const cache = () => made([2, 2, 3, 8], [1, 2], 5, 'float64').kept;
    const run = (x: Tensor) => nn.selfAttentionStep(x, cache(), int64([1, 2]), scale);
    assertClose(run(wide), run(wide.contiguous()), 0);
  });

  it('does not overflow for huge scores, and keeps NaN in its row and head', () => {
    for (const dtype of ['float64', 'float32', 'bfloat16'] as const) {
      const projected = full([2, 3 * 8], 1e4).to(dtype);
      const kept = { keys: ones([2, 2, 1, 4, 16], dtype), values: full([2, 2, 3, 4], 3).to(dtype) };
      projected.narrow(0, 1, 1).narrow(1, 2, 1).fill_(Number.NaN); // query of row 1, head 0
      const got = nn.selfAttentionStep(projected, kept, int64([2, 2]), 1);
      const wanted = projected.narrow(0, 0, 1).narrow(1, 16, 8); // the new key's score is the largest by far
      assertClose(got.narrow(0, 0, 1), wanted, 0);
      assert.deepEqual(got.narrow(0, 1, 1).toArray().map(Number.isNaN), [
        ...new Array(4).fill(true),
        ...new Array(4).fill(false),
      ]);
    }
  });

  it('does not depend on the number of threads or on the other rows', () => {
    for (const [dtype, keptDType] of pairs) {
      const positions = [150, 199, 1];
      const x = randomTensor([3, 3 * 128], 6, dtype);
      const { plain } = made([3, 4, 200, 32], positions, 7, keptDType);
      const [keys, values] = plain;
      const all = () =>
        nn.selfAttentionStep(x, { keys: grouped(keys), values: values.clone() }, int64(positions), scale);
      assertSameForAnyThreadCount(all);
      const [oneX, oneKeys, oneValues] = [x, keys, values].map((input) => input.narrow(0, 1, 1).contiguous());
      const alone = { keys: grouped(oneKeys!), values: oneValues! };
      assertClose(nn.selfAttentionStep(oneX!, alone, int64([199]), scale), all().narrow(0, 1, 1), 0);
    }
  });

  it('takes no rows at all, and says what does not fit', () => {
    const empty = nn.emptyKeptTokens([0, 2, 0, 2], 'float32');
    assert.deepEqual(nn.selfAttentionStep(ones([0, 12]), empty, int64([]), 1).shape, [0, 4]);
    const cache = { keys: ones([2, 2, 1, 4, 16]), values: ones([2, 2, 5, 4]) };
    const run = (x: Tensor, changes: Partial<nn.KeptTokens> = {}, positions = int64([0, 4])) =>
      nn.selfAttentionStep(x, { ...cache, ...changes }, positions, 1);
    const x = ones([2, 24]);
    refused(() => run(x, cache, int64([0, 5])), /the cache holds 5 tokens, row 1 is at position 5/);
    refused(() => run(x, cache, int64([-1, 0])), /row 0 is at position -1/);
    refused(() => run(x, cache, int64([0])), /positions must be contiguous int64 \[2\]/);
    refused(() => run(x, cache, ones([2])), /positions must be contiguous int64 \[2\], got Float/i);
    refused(() => run(ones([3, 24]), cache, int64([0, 0, 0])), /the cache has 2 rows, the batch 3/);
    refused(() => run(ones([2, 16])), /expected projections \[B, 24\]/);
    refused(
      () => run(x.to('float64')),
      /must have the dtype of the projections or be bfloat16 under float32/,
    );
    refused(() => run(x, { keys: cache.keys.to('bfloat16') }), /must have one dtype/);
    refused(() => run(x, { values: ones([2, 2, 17, 4]) }), /must be contiguous \[R, H, L\/16/);
    refused(() => run(x, { keys: ones([2, 2, 1, 16, 4]) }), /must be contiguous \[R, H, L\/16/);
    refused(() => run(x, { keys: ones([2, 2, 4, 16]) }), /must be contiguous \[R, H, L\/16/);
    refused(() => run(x, { values: cache.values.transpose(0, 1) }), /must be contiguous/);
    const whole = { keys: cache.keys.to('int32'), values: cache.values.to('int32') };
    refused(() => run(x.to('int32'), whole), /expected float32, float64 or bfloat16/);
  });
});

describe('crossAttentionStep', () => {
  const visible = [5, 1, 300];
  const sources = [2, 0, 1, 1, 2]; // shared, and not in order
  const memoryOf = (depth: number, dtype: FloatType) => {
    const { plain, kept } = made([3, 3, 300, depth], visible, 11, dtype);
    const memory: nn.StepMemory = {
      ...kept,
      visible: int64(visible),
      sources: int64(sources),
      scale,
    };
    return { plain, memory };
  };

  for (const [dtype, keptDType] of pairs)
    it(`agrees with plain attention to the visible part of each row's source, ${dtype} to ${keptDType}`, () => {
      for (const depth of [1, 8, 33, 64])
        scope(() => {
          const query = randomTensor([5, 3 * depth], 13, dtype);
          const { plain, memory } = memoryOf(depth, keptDType);
          const got = nn.crossAttentionStep(query, memory);
          assert.deepEqual([got.dtype, got.shape], [dtype, query.shape]);
          for (const [b, source] of sources.entries()) {
            const [keys, values] = plain.map((each) => row(each, source).narrow(1, 0, visible[source]!)) as [
              Tensor,
              Tensor,
            ];
            const wanted = plainRow(row(query, b).reshape(3, depth), keys, values);
            assertClose(row(got, b), wanted, budget[dtype], `row ${b}, depth ${depth}`);
          }
        });
    });

  it('does not depend on the number of threads', () => {
    for (const [dtype, keptDType] of pairs) {
      const { memory } = memoryOf(33, keptDType);
      assertSameForAnyThreadCount(() => nn.crossAttentionStep(randomTensor([5, 99], 14, dtype), memory));
    }
  });

  it('takes no rows at all, and says what does not fit', () => {
    const { memory } = memoryOf(4, 'float32');
    const none = nn.crossAttentionStep(ones([0, 12]), { ...memory, sources: int64([]) });
    assert.deepEqual(none.shape, [0, 12]);
    const run = (changes: Partial<nn.StepMemory>, query = ones([5, 12])) =>
      nn.crossAttentionStep(query, { ...memory, ...changes });
    refused(() => run({ sources: int64([0, 0, 3, 0, 0]) }), /row 2 has source 3 of 3/);
    refused(() => run({ sources: int64([0, -1, 0, 0, 0]) }), /row 1 has source -1 of 3/);
    refused(() => run({ sources: int64([0]) }), /sources must be contiguous int64 \[5\]/);
    refused(() => run({ visible: int64([1, 0, 2]) }), /source 1 shows 0 keys, expected 1 to 300/);
    refused(() => run({ visible: int64([1, 1, 301]) }), /source 2 shows 301 keys/);
    refused(() => run({ visible: int64([1, 1]) }), /visible must be contiguous int64 \[3\]/);
    refused(() => run({}, ones([5, 13])), /expected projections \[B, 12\]/);
    refused(() => run({}, ones([5, 12], 'float64')), /must have the dtype of the projections/);
  });
});

describe('keepTexts', () => {
  const cases: [lengths: number[], filler: number, length: number, heads: number, depth: number][] = [
    [[3, 0, 17], 0, 17, 2, 5],
    [[16, 33], 3, 40, 1, 16],
    [[1], 0, 1, 3, 64],
    [[], 2, 4, 1, 1],
  ];

  /** By library operators: cut, pad with zeros, move the heads forward. */
  function plainHeads(x: Tensor, lengths: number[], length: number, heads: number, part: number): Tensor {
    const depth = x.shape[1]! / 2 / heads;
    const starts = lengths.map((_, at) => lengths.slice(0, at).reduce((sum, each) => sum + each, 0));
    const rows = lengths.map((count, at) => {
      const text = x.narrow(0, starts[at]!, count).narrow(1, part * heads * depth, heads * depth);
      return aten
        .constant_pad_nd(text, [0, 0, 0, length - count])
        .reshape(1, length, heads, depth)
        .permute(0, 2, 1, 3);
    });
    return rows.length > 0 ? aten.cat(rows) : zeros([0, heads, length, depth], x.dtype);
  }

  for (const [dtype, keptDType] of pairs)
    it(`equals cutting, padding and moving by library operators, ${dtype} to ${keptDType}`, () => {
      for (const [lengths, filler, length, heads, depth] of cases)
        scope(() => {
          const numTokens = lengths.reduce((sum, each) => sum + each, filler);
          const x = randomTensor([2 * heads * depth, numTokens], 21, dtype).transpose(0, 1); // strided
          const { keys, values } = nn.keepTexts(x, int64(lengths), length, heads, keptDType);
          const [wantedKeys, wantedValues] = [0, 1].map((part) =>
            plainHeads(x, lengths, length, heads, part).to(keptDType),
          ) as [Tensor, Tensor];
          assert.deepEqual([keys.dtype, values.dtype], [keptDType, keptDType]);
          assert.deepEqual(keys.shape, [lengths.length, heads, Math.ceil(length / 16), depth, 16]);
          assertClose(ungrouped(keys, length), wantedKeys, 0);
          assertClose(values, wantedValues, 0);
        });
    });

  it('says what does not fit', () => {
    const x = ones([5, 12]);
    const run = (lengths: Tensor, length = 5, heads = 2, dtype: FloatType = 'float32', input = x) =>
      nn.keepTexts(input, lengths, length, heads, dtype);
    refused(() => run(int64([2, 4])), /sum to 6.*5 packed/);
    refused(() => run(int64([2, -1])), /row 1 has length -1, expected 0 to 5/);
    refused(() => run(int64([2, 3]), 2), /row 1 has length 3, expected 0 to 2/);
    refused(() => run(ones([2])), /lengths must be contiguous int64 \[2\]/);
    refused(() => run(int64([2, 3]).reshape(1, 2)), /lengths must be contiguous int64/);
    refused(() => run(int64([5]), 5, 5), /of 5 heads, got \[5, 12\]/);
    refused(() => run(int64([5]), 5, 0), /of 0 heads/);
    refused(() => run(int64([]), -1), /length -1/);
    refused(() => run(int64([5]), 5, 2, 'float64'), /must have the dtype/);
    refused(() => run(int64([5]), 5, 2, 'float32', x.to('bfloat16')), /must have the dtype/);
  });
});

runOnOlderInstructionSets(import.meta.url);
