// Packed attention against the same computation made of library operators in float64, text by text and head by head;
// gradients against that and against central differences; masks against a second Philox. The whole file runs again
// limited to AVX2 and to the baseline.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backward, noGrad } from './autograd.js';
import { arange, cat, full, ones, tensor, zeros } from './create.js';
import { NativeError } from './errors.js';
import {
  assertClose,
  assertSameForAnyThreadCount,
  budget,
  checkGradients,
  type FloatType,
  floatTypes,
  gradients,
  philox,
  randomTensor,
  runOnOlderInstructionSets,
} from './kernels.test-support.js';
import { packedAttention } from './nn.js';
import type { Tensor } from './tensor.js';

interface Case {
  lengths: number[];
  /** Cross-attention: keys of each text. */
  keys?: number[];
  visible?: number[];
  filler?: number;
  heads: number;
  depth: number;
  causal?: boolean;
  p?: number;
}

const cases: Case[] = [
  { lengths: [7, 1, 20], heads: 2, depth: 16, p: 0.3 },
  { lengths: [5, 70], heads: 1, depth: 64, filler: 3 },
  { lengths: [65, 2], visible: [40, 1], heads: 2, depth: 16, filler: 2, p: 0.2 },
  { lengths: [70, 3, 129], heads: 1, depth: 32, causal: true, p: 0.1 },
  { lengths: [9, 6], visible: [4, 0], heads: 2, depth: 8, causal: true, p: 0.25 }, // the second text shows no key
  { lengths: [4, 0, 31], heads: 3, depth: 5, filler: 1, p: 0.5 },
  { lengths: [3, 4, 62], keys: [130, 1, 67], heads: 2, depth: 16, p: 0.2 },
  { lengths: [3, 5, 2], keys: [4, 0, 9], visible: [0, 0, 7], heads: 1, depth: 24, filler: 2 }, // and one has none
  { lengths: [290], heads: 1, depth: 80, p: 0.1 },
  { lengths: [300], heads: 1, depth: 17, causal: true },
];
const [seed, offset] = [2 ** 40 + 77, 2 ** 33 - 9];

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
const int64 = (numbers: readonly number[]): Tensor => tensor(BigInt64Array.from(numbers, BigInt));
const name = (c: Case): string => JSON.stringify(c).replaceAll('"', '');

function inputsOf(c: Case, dtype: FloatType): Tensor[] {
  const [width, filler] = [c.heads * c.depth, c.filler ?? 0];
  const queries = randomTensor([sum(c.lengths) + filler, (c.keys ? 1 : 3) * width], 6, dtype);
  return c.keys ? [queries, randomTensor([sum(c.keys) + filler, 2 * width], 7, dtype)] : [queries];
}

const fused = ([queries, keysValues]: Tensor[], c: Case): Tensor =>
  packedAttention(queries!, {
    lengths: int64(c.lengths),
    ...(keysValues && { memory: { keysValues, lengths: int64(c.keys!) } }),
    ...(c.visible && { visible: int64(c.visible) }),
    numHeads: c.heads,
    scale: 1 / Math.sqrt(c.depth),
    causal: c.causal ?? false,
    dropoutP: c.p ?? 0,
    key: { seed, offset },
  });

/** 0 or 1/(1 − p) for every query and key of one text and head, p in steps of 1/65536. */
function dropoutFactors(queries: number, keys: number, item: number, p: number): Tensor {
  const threshold = Math.round(p * 65536);
  const key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  const factors: number[] = [];
  for (let query = 0; query < queries; query++) {
    const words: number[][] = [];
    for (let j = 0; j < keys; j++) {
      const index = Math.floor(j / 64) * 8 + ((j % 16) >> 1);
      const counter = offset + index;
      words[index] ??= philox([counter % 2 ** 32, Math.floor(counter / 2 ** 32), query, item], key);
      const word = words[index][(j % 2) + (j % 32 >= 16 ? 2 : 0)]!;
      const draw = j % 64 < 32 ? word >>> 16 : word & 0xffff;
      factors.push(draw >= threshold ? 65536 / (65536 - threshold) : 0);
    }
  }
  return tensor(factors, { dtype: 'float64', shape: [queries, keys] });
}

/** What packed attention is defined as. */
function plain([queries, keysValues]: Tensor[], c: Case): Tensor {
  const width = c.heads * c.depth;
  const rows: Tensor[] = [];
  let [firstQuery, firstKey] = [0, 0];
  for (const [text, length] of c.lengths.entries()) {
    const stored = (c.keys ?? c.lengths)[text]!;
    const visible = c.visible?.[text] ?? stored;
    const heads: Tensor[] = [];
    for (let head = 0; length > 0 && head < c.heads; head++) {
      const part = (which: number): Tensor => {
        const source = which > 0 && keysValues ? keysValues : queries!;
        const place = which > 0 && keysValues ? which - 1 : which;
        const [start, count] = which === 0 ? [firstQuery, length] : [firstKey, stored];
        return source.narrow(0, start, count).narrow(1, place * width + head * c.depth, c.depth);
      };
      if (stored === 0) {
        heads.push(zeros([length, c.depth], 'float64'));
        continue;
      }
      const last = c.causal && visible > 0 ? arange(length).reshape(length, 1) : full([1], stored, 'int64');
      const hidden = arange(stored).ge(visible).add(arange(stored).gt(last)).gt(0);
      const scores = part(0)
        .matmul(part(1).transpose(0, 1))
        .div(Math.sqrt(c.depth))
        .maskedFill(hidden, -10000);
      const probabilities = scores.softmax(-1);
      const factors = c.p ? dropoutFactors(length, stored, text * c.heads + head, c.p) : 1;
      heads.push(probabilities.mul(factors).matmul(part(2)));
    }
    if (length > 0) rows.push(cat(heads, 1));
    firstQuery += length;
    firstKey += stored;
  }
  return cat([...rows, zeros([c.filler ?? 0, width], 'float64')]);
}

describe('packedAttention', () => {
  for (const c of cases)
    for (const dtype of floatTypes)
      it(`agrees with library operators, forward and backward: ${name(c)}, ${dtype}`, () => {
        const inputs = inputsOf(c, dtype);
        const wide = inputs.map((input) => input.to('float64'));
        const want = plain(wide, c);
        const output = fused(inputs, c);
        assert.equal(output.dtype, dtype);
        assertClose(output, want, budget[dtype], 'output');
        const got = gradients((values) => fused(values, c).to('float64'), inputs);
        for (const [i, gradient] of gradients((values) => plain(values, c), wide).entries())
          assertClose(got[i]!, gradient, 2 * budget[dtype], `gradient ${i}`);
      });

  it('has right gradients by central differences', () => {
    for (const c of [
      { lengths: [4, 2], visible: [3, 0], heads: 2, depth: 2, filler: 1, causal: true, p: 0.3 },
      { lengths: [2, 3], keys: [3, 5], visible: [3, 2], heads: 1, depth: 3, p: 0.4 },
      { lengths: [5], heads: 1, depth: 2 },
    ])
      checkGradients((values) => fused(values, c), inputsOf(c, 'float64'));
  });

  for (const dtype of floatTypes)
    it(`takes a row of 2048 keys, ${dtype}`, () => {
      const c: Case = { lengths: [6], keys: [2048], heads: 1, depth: 16 };
      const inputs = inputsOf(c, dtype);
      const wide = inputs.map((input) => input.to('float64'));
      assertClose(fused(inputs, c), plain(wide, c), budget[dtype]);
      const got = gradients((values) => fused(values, c).to('float64'), inputs);
      for (const [i, gradient] of gradients((values) => plain(values, c), wide).entries())
        assertClose(got[i]!, gradient, 2 * budget[dtype], `gradient ${i}`);
    });

  it('gives the same result with and without gradients wanted', () => {
    for (const dtype of floatTypes) {
      const inputs = inputsOf(cases[2]!, dtype);
      const without = noGrad(() => fused(inputs, cases[2]!)).toArray();
      inputs[0]!.requiresGrad = true;
      assert.deepEqual(fused(inputs, cases[2]!).toArray(), without);
    }
  });

  it('gives the same bits for any number of threads', () => {
    const c: Case = { lengths: [90, 7, 130, 40], heads: 3, depth: 16, p: 0.1 };
    for (const dtype of floatTypes) {
      assertSameForAnyThreadCount(() => fused(inputsOf(c, dtype), c));
      assertSameForAnyThreadCount(() => gradients((values) => fused(values, c), inputsOf(c, dtype))[0]!);
    }
  });

  it('stays finite for huge scores', () => {
    for (const dtype of floatTypes) {
      const big = full([4, 3 * 16], 1e4, dtype);
      const c: Case = { lengths: [4], heads: 1, depth: 16 };
      assertClose(fused([big], c), big.narrow(1, 0, 16), budget[dtype]);
      const [gradient] = gradients((values) => fused(values, c), [big]);
      assert.ok(gradient!.toArray().every(Number.isFinite));
    }
  });

  it('refuses shapes, dtypes and lengths that do not fit', () => {
    const x = ones([5, 12]);
    const run = (lengths: Tensor, more: object = {}, queries = x): Tensor =>
      packedAttention(queries, { lengths, numHeads: 2, scale: 1, ...more });
    const refused = (body: () => unknown, text: RegExp): void => {
      assert.throws(body, (error) => error instanceof NativeError && text.test(error.message));
    };
    const memory = (shape: number[], lengths: number[], dtype: FloatType = 'float32') => ({
      memory: { keysValues: ones(shape, dtype), lengths: int64(lengths) },
    });
    refused(() => run(int64([5]), {}, ones([5, 10])), /expected \[N, 3E\] with E a multiple of 2 heads/);
    refused(() => run(int64([3, 3])), /query_lengths sum to 6, but there are 5/);
    refused(() => run(int64([6, -1])), /text 1 has -1 queries/);
    refused(() => run(int64([5]), { visible: int64([6]) }), /6 of them visible/);
    refused(() => run(int64([5]), { visible: int64([2, 3]) }), /visible_lengths must be int64 \[1\]/);
    refused(() => run(tensor([5], { dtype: 'int32' })), /query_lengths must be int64/);
    refused(() => run(int64([5]), memory([4, 12], [4])), /expected key_values \[Ns, 24\]/);
    refused(() => run(int64([5]), memory([4, 24], [5])), /key_lengths sum to 5, but there are 4/);
    refused(() => run(int64([5]), memory([4, 24], [4], 'float64')), /must have one dtype/);
    refused(() => run(int64([5]), { ...memory([4, 24], [4]), causal: true }), /a key for each query/);
    refused(() => run(int64([5]), { dropoutP: 1 }), /must be in \[0, 1\)/);
    refused(() => run(int64([5]), {}, ones([5, 12], 'int64')), /expected float32, float64 or bfloat16/);
  });
});

describe('dropout of packedAttention', () => {
  /** The factors themselves: equal scores and values that single out each key. */
  function factorsOf(length: number, p: number, dtype: FloatType, lead: number[] = []): Tensor {
    const lengths = [...lead, length];
    const start = sum(lead);
    const queries = zeros([start + length, 3 * length], dtype);
    for (let j = 0; j < length; j++)
      queries
        .narrow(0, start + j, 1)
        .narrow(1, 2 * length + j, 1)
        .add_(length);
    return fused([queries], { lengths, heads: 1, depth: length, p }).narrow(0, start, length);
  }

  for (const dtype of floatTypes)
    it(`uses the same mask forward and backward, ${dtype}`, () => {
      // out = factors · V with equal probabilities, so the gradient of V for an incoming identity is their transpose.
      const length = 70;
      const forward = factorsOf(length, 0.4, dtype).to('float64').toArray();
      const queries = zeros([length, 3 * length], dtype);
      queries.requiresGrad = true;
      const identity = zeros([length, length], dtype);
      for (let j = 0; j < length; j++) identity.narrow(0, j, 1).narrow(1, j, 1).add_(length);
      backward(
        fused([queries], { lengths: [length], heads: 1, depth: length, p: 0.4 })
          .mul(identity)
          .sum(),
      );
      const transposed = queries.grad!.narrow(1, 2 * length, length).transpose(0, 1);
      const back = transposed.to('float64').toArray();
      assert.deepEqual(
        back.map((value) => value > 0),
        forward.map((value) => value > 0),
      );
      assert.ok(forward.every((value) => value === 0 || Math.abs(value - 1 / 0.6) < 0.02));
    });

  it('draws at the rate asked for, without a pattern over keys, queries or heads', () => {
    const [length, heads, p] = [256, 4, 0.1];
    const queries = zeros([length, 3 * heads * length]);
    for (let head = 0; head < heads; head++)
      for (let j = 0; j < length; j++)
        queries
          .narrow(0, j, 1)
          .narrow(1, (2 * heads + head) * length + j, 1)
          .add_(length);
    const kept = fused([queries], { lengths: [length], heads, depth: length, p })
      .reshape(length, heads, length)
      .gt(0)
      .to('float64');
    const within = (rates: Tensor, draws: number): void => {
      for (const rate of rates.toArray())
        assert.ok(Math.abs(rate - (1 - p)) < 5 * Math.sqrt((p * (1 - p)) / draws), `rate ${rate}`);
    };
    within(kept.mean().reshape(1), length * length * heads);
    within(kept.mean([0, 2]), length * length);
    within(kept.mean([1, 2]), length * heads);
    within(kept.mean([0, 1]), length * heads);
    const [first, second] = [kept.select(1, 0), kept.select(1, 1)];
    within(first.eq(second).to('float64').mean().add(0.08).reshape(1), length * length); // agree: 0.81 + 0.01
  });

  it('does not depend on the lengths of the other texts', () => {
    const alone = factorsOf(33, 0.3, 'float64', [1]);
    assertClose(factorsOf(33, 0.3, 'float64', [50]), alone, 0);
  });
});

runOnOlderInstructionSets(import.meta.url);
