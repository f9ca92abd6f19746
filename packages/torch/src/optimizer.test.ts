// AdamW and the gradient norm against the formulas in plain float64 numbers.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AdamW,
  type AdamWOptions,
  backward,
  CheckpointError,
  type DType,
  liveTensorCount,
  scope,
  setNumThreads,
  type Tensor,
  tensor,
  zeros,
} from './index.js';

/** A deterministic spread of numbers around 0. */
const spread = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, index) => Math.sin(1 + seed * 7.1 + index * 1.7) * (1 + (index % 5)));

interface Plain {
  value: number[];
  first: number[];
  second: number[];
}

/** One step of arXiv 1711.05101, algorithm 2, with decoupled decay scaled by the rate. */
function plainStep(
  { value, first, second }: Plain,
  gradient: readonly number[],
  step: number,
  learningRate: number,
  { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0.01 }: AdamWOptions,
): void {
  for (const [index, g] of gradient.entries()) {
    first[index] = beta1 * first[index]! + (1 - beta1) * g;
    second[index] = beta2 * second[index]! + (1 - beta2) * g * g;
    const unbiasedFirst = first[index]! / (1 - beta1 ** step);
    const unbiasedSecond = second[index]! / (1 - beta2 ** step);
    value[index] =
      value[index]! * (1 - learningRate * weightDecay) -
      (learningRate * unbiasedFirst) / (Math.sqrt(unbiasedSecond) + eps);
  }
}

function setGradient(parameter: Tensor, values: readonly number[]): void {
  scope(() => {
    parameter.grad = tensor(values, { dtype: parameter.dtype, shape: parameter.shape });
  });
}

function makeParameters(dtype: DType): Map<string, Tensor> {
  const make = (count: number, seed: number, shape: readonly number[]): Tensor =>
    tensor(spread(count, seed), { dtype, shape, requiresGrad: true });
  return new Map([
    ['a.weight', make(20000, 1, [100, 200])], // more than one chunk of the kernel
    ['a.bias', make(7, 2, [7])],
    ['unused', make(3, 3, [3])],
    ['scalar', make(1, 4, [])],
  ]);
}

function assertNear(
  got: readonly number[],
  wanted: readonly number[],
  tolerance: number,
  what: string,
): void {
  assert.equal(got.length, wanted.length, what);
  for (const [index, value] of got.entries())
    assert.ok(
      Math.abs(value - wanted[index]!) <= tolerance * (1 + Math.abs(wanted[index]!)),
      `${what}[${index}]: ${value} for ${wanted[index]}`,
    );
}

const variants: readonly AdamWOptions[] = [
  {},
  { beta1: 0.8, beta2: 0.95, eps: 1e-6, weightDecay: 0.1 },
  { weightDecay: 0 },
  { decays: (name) => !name.endsWith('bias') },
];

describe('AdamW', () => {
  for (const [dtype, tolerance] of [
    ['float64', 1e-13],
    ['float32', 2e-6], // ten steps, each a few roundings of 6e-8
  ] as const)
    for (const options of variants)
      it(`equals the formulas for ten steps, ${dtype}, ${JSON.stringify(options)}${options.decays ?? ''}`, () => {
        const parameters = makeParameters(dtype);
        const plain = new Map<string, Plain>(
          [...parameters].map(([name, parameter]) => {
            const value = parameter.toArray();
            return [name, { value, first: value.map(() => 0), second: value.map(() => 0) }];
          }),
        );
        const untouched = parameters.get('unused')!.toArray();
        const optimizer = new AdamW(parameters, options);
        for (let step = 1; step <= 10; step++) {
          const learningRate = 0.01 / step;
          const scale = step % 3 === 0 ? 0.25 : 1;
          for (const [name, parameter] of parameters) {
            if (name === 'unused') continue;
            const gradient = spread(parameter.numel, 10 * step + name.length);
            setGradient(parameter, gradient);
            const rounded = dtype === 'float32' ? gradient.map(Math.fround) : gradient;
            const decays = options.decays?.(name) ?? true;
            plainStep(
              plain.get(name)!,
              rounded.map((g) => g * scale),
              step,
              learningRate,
              decays ? options : { ...options, weightDecay: 0 },
            );
          }
          optimizer.update(learningRate, scale);
          optimizer.clearGradients();
          assert.equal(optimizer.step, step);
        }
        for (const [name, parameter] of parameters) {
          if (name === 'unused') assert.deepEqual(parameter.toArray(), untouched, 'without gradient');
          else assertNear(parameter.toArray(), plain.get(name)!.value, tolerance, name);
          const { first, second } = plain.get(name)!;
          const state = optimizer.state();
          assertNear(state.get(`exp_avg.${name}`)!.toArray(), first, tolerance, `${name} first moment`);
          assertNear(state.get(`exp_avg_sq.${name}`)!.toArray(), second, tolerance, `${name} second moment`);
        }
      });

  it('decays a weight even where its gradient is zero', () => {
    const weight = tensor([2, -4], { dtype: 'float64', requiresGrad: true });
    const optimizer = new AdamW(new Map([['w', weight]]), { weightDecay: 0.5 });
    setGradient(weight, [0, 0]);
    optimizer.update(0.1);
    assertNear(weight.toArray(), [2 * 0.95, -4 * 0.95], 1e-15, 'weight');
  });

  it('goes on bit for bit from a restored state', () => {
    const [straight, resumed] = [makeParameters('float32'), makeParameters('float32')];
    const run = (parameters: Map<string, Tensor>, optimizer: AdamW, from: number, to: number): void => {
      for (let step = from; step < to; step++) {
        for (const parameter of parameters.values()) setGradient(parameter, spread(parameter.numel, step));
        optimizer.update(0.01);
      }
    };
    run(straight, new AdamW(straight), 0, 6);
    const first = new AdamW(resumed);
    run(resumed, first, 0, 3);
    const saved = new Map([...first.state()].map(([name, moment]) => [name, moment.clone()]));
    const second = new AdamW(resumed);
    second.restore(first.step, (name) => saved.get(name));
    assert.equal(second.step, 3);
    run(resumed, second, 3, 6);
    for (const [name, parameter] of straight)
      assert.deepEqual(parameter.toArray(), resumed.get(name)!.toArray(), name);
  });

  it('refuses a state of another model whole: nothing is taken over', () => {
    const parameters = makeParameters('float32');
    const optimizer = new AdamW(parameters);
    const saved = new Map([...optimizer.state()].map(([name, moment]) => [name, moment.clone().fill_(3)]));
    const refused = (pattern: RegExp): void => {
      assert.throws(
        () => optimizer.restore(5, (name) => saved.get(name)),
        (error) => error instanceof CheckpointError && pattern.test(error.message),
        `${pattern}`,
      );
      assert.equal(optimizer.step, 0);
      for (const moment of optimizer.state().values())
        assert.ok(moment.toArray().every((value) => value === 0));
    };
    for (const shape of [[1], [8], [7, 1]]) {
      saved.set('exp_avg.a.bias', zeros(shape)); // [1] could be broadcast
      refused(/"exp_avg\.a\.bias".*shape/);
    }
    saved.delete('exp_avg_sq.scalar');
    saved.set('exp_avg.a.bias', zeros([7]));
    refused(/"exp_avg_sq\.scalar"/);
  });

  it('updates leave no tensors behind, and a graph that saved old weights is refused', () => {
    const parameters = makeParameters('float32');
    const optimizer = new AdamW(parameters);
    for (let step = 0; step < 3; step++) {
      for (const parameter of parameters.values()) setGradient(parameter, spread(parameter.numel, step));
      const before = liveTensorCount();
      optimizer.gradientNorm();
      optimizer.update(0.01);
      optimizer.clearGradients();
      assert.equal(liveTensorCount(), before);
    }
    const weight = parameters.get('a.bias')!;
    const loss = weight.mul(weight).sum();
    setGradient(weight, spread(7, 1));
    optimizer.update(0.1);
    assert.throws(() => backward(loss), /modified by an inplace operation/);
  });
});

describe('gradientNorm', () => {
  it('is the root of the sum of squares of all gradients, in float64', () => {
    for (const dtype of ['float64', 'float32'] as const) {
      const parameters = makeParameters(dtype);
      const optimizer = new AdamW(parameters);
      assert.equal(optimizer.gradientNorm(), 0, 'without gradients');
      let squares = 0;
      for (const [name, parameter] of parameters) {
        if (name === 'unused') continue;
        const gradient = spread(parameter.numel, 9).map((value) => value * 1e18); // squares overflow fp32
        setGradient(parameter, gradient);
        squares += gradient.reduce((sum, g) => sum + (dtype === 'float32' ? Math.fround(g) : g) ** 2, 0);
      }
      const norm = optimizer.gradientNorm();
      assert.ok(Math.abs(norm / Math.sqrt(squares) - 1) < 1e-13, `${norm} for ${Math.sqrt(squares)}`);
      setNumThreads(2);
      assert.equal(optimizer.gradientNorm(), norm, 'with two threads');
      setNumThreads(1);
      setGradient(parameters.get('a.bias')!, [0, 0, Number.NaN, 0, 0, 0, 0]);
      assert.ok(Number.isNaN(optimizer.gradientNorm()));
    }
  });
});
