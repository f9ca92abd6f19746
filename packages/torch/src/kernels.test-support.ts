// What the kernels' tests share: seeded values, closeness, gradients against central differences, a second Philox,
// thread counts, and running a test file again on older instruction sets.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { backward, noGrad } from './autograd.js';
import { tensor } from './create.js';
import type { DType } from './native.js';
import { getNumThreads, setNumThreads } from './runtime.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

export type FloatType = Extract<DType, 'float64' | 'float32' | 'bfloat16'>;
export const floatTypes: FloatType[] = ['float64', 'float32', 'bfloat16'];

/** Largest accepted |difference| / (1 + |expected|) by dtype; bfloat16 has 8 bits. */
export const budget: Record<FloatType, number> = { float64: 1e-12, float32: 3e-6, bfloat16: 1.6e-2 };

/** Roughly normal values that depend on `seed` only. */
export function randomTensor(shape: readonly number[], seed: number, dtype: FloatType = 'float64'): Tensor {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  const size = shape.reduce((product, length) => product * length, 1);
  const values = Float64Array.from({ length: size }, () => 1.7 * (next() + next() + next() + next() - 2));
  return tensor(values, { shape }).to(dtype);
}

export function assertClose(actual: Tensor, expected: Tensor, tolerance: number, what = ''): void {
  assert.deepEqual(actual.shape, expected.shape, what);
  const got = actual.to('float64').toArray();
  const want = expected.to('float64').toArray();
  for (let i = 0; i < got.length; i++)
    assert.ok(
      Math.abs(got[i]! - want[i]!) <= tolerance * (1 + Math.abs(want[i]!)),
      `${what} element ${i}: got ${got[i]}, expected ${want[i]} within ${tolerance}`,
    );
}

/** Fixed weights of the outputs in a loss: numbers that bfloat16 holds exactly, so that every dtype sees the same. */
export const incomingGradient = (output: Tensor) =>
  randomTensor(output.shape, 99, 'bfloat16').to(output.dtype as FloatType);

/** Gradients of sum(output · weights) for `inputs` by backward. */
export function gradients(output: (inputs: Tensor[]) => Tensor, inputs: Tensor[]): Tensor[] {
  const leaves = inputs.map((input) => input.detach().clone());
  for (const leaf of leaves) leaf.requiresGrad = true;
  const result = output(leaves);
  backward(result.mul(incomingGradient(result)).sum());
  return leaves.map((leaf) => leaf.grad!);
}

/** Compares `gradients` with central differences in float64. */
export function checkGradients(output: (inputs: Tensor[]) => Tensor, inputs: Tensor[]): void {
  const loss = (values: Tensor[]) =>
    noGrad(() =>
      scope(() => {
        const result = output(values);
        return result.mul(incomingGradient(result)).sum().item();
      }),
    );
  const step = 1e-5;
  gradients(output, inputs).forEach((gradient, which) => {
    const analytic = gradient.toArray();
    const base = inputs[which]!.toArray();
    for (let i = 0; i < base.length; i++) {
      const [above, below] = [step, -step].map((delta) => {
        const moved = base.slice();
        moved[i]! += delta;
        const values = inputs.slice();
        values[which] = tensor(moved, { dtype: 'float64', shape: inputs[which]!.shape });
        return loss(values);
      });
      const numeric = (above! - below!) / (2 * step);
      assert.ok(
        Math.abs(analytic[i]! - numeric) <= 1e-6 * (1 + Math.abs(numeric)),
        `input ${which}, element ${i}: backward ${analytic[i]}, central difference ${numeric}`,
      );
    }
  });
}

/** Philox4x32-10, written from the paper with BigInt. */
export function philox(counter: number[], key: number[]): number[] {
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const a = c0 * 0xd2511f53n;
    const b = c2 * 0xcd9e8d57n;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & 0xffffffffn, (a >> 32n) ^ c3 ^ k1, a & 0xffffffffn];
    k0 = (k0 + 0x9e3779b9n) & 0xffffffffn;
    k1 = (k1 + 0xbb67ae85n) & 0xffffffffn;
  }
  return [c0, c1, c2, c3].map(Number);
}

/** Asserts the same bits with one and with three threads. */
export function assertSameForAnyThreadCount(body: () => Tensor | Tensor[]): void {
  const before = getNumThreads();
  try {
    const results = [1, 3].map((count) => {
      setNumThreads(count);
      return [body()].flat().map((result) => result.toArray());
    });
    assert.deepEqual(results[0], results[1]);
  } finally {
    setNumThreads(before);
  }
}

/** Whether this process is one that `runOnOlderInstructionSets` started. */
export const isLimited = process.env.OPENPLUG_KERNELS_CHILD === '1';

/**
 * Runs a test file again in child processes that may use AVX2 at most, and the baseline only.
 * @param url of the test file
 * @param more environments to run it in
 */
export function runOnOlderInstructionSets(url: string, more: readonly Record<string, string>[] = []): void {
  describe('instruction sets', { skip: isLimited }, () => {
    for (const limits of [{ ATEN_CPU_CAPABILITY: 'avx2' }, { ATEN_CPU_CAPABILITY: 'default' }, ...more]) {
      it(`passes every test above with ${JSON.stringify(limits)}`, () => {
        const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
        const child = spawnSync(process.execPath, [fileURLToPath(url)], {
          env: { ...environment, ...limits, OPENPLUG_KERNELS_CHILD: '1' },
          encoding: 'utf8',
        });
        assert.equal(child.status, 0, child.stdout.slice(-3000) + child.stderr.slice(-1000));
      });
    }
  });
}
