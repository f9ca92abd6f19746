// The project's own kernels against the same computation made of library operators, in float64 and in the storage
// dtypes; gradients against central differences; Philox against its published vectors; masks against a second
// Philox written here. The whole file runs again in child processes limited to AVX2 and to the baseline.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { arange, ones, tensor, zeros } from './create.js';
import { NativeError } from './errors.js';
import {
  assertClose,
  assertSameForAnyThreadCount,
  budget,
  checkGradients,
  type FloatType,
  floatTypes,
  gradients,
  incomingGradient,
  philox,
  randomTensor,
  runOnOlderInstructionSets,
} from './kernels.test-support.js';
import { callOperator, type OperatorArgument, type Tensor } from './tensor.js';

const call = (name: string, ...operands: OperatorArgument[]) =>
  callOperator(`openplug::${name}`, ...operands) as Tensor;

/** The factors (0 or 1/(1 − p)) of `rows` rows of `length` elements, each row starting on a counter of its own. */
function dropoutFactors(rows: number, length: number, p: number, seed: number, offset: number): Tensor {
  const factors: number[] = [];
  const key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < length; i++) {
      const counter = offset + row * Math.ceil(length / 4) + Math.floor(i / 4);
      const word = philox([counter % 2 ** 32, Math.floor(counter / 2 ** 32), 0, 0], key)[i % 4]!;
      factors.push(word >= p * 2 ** 32 ? 1 / (1 - p) : 0);
    }
  }
  return tensor(factors, { dtype: 'float64', shape: [rows, length] });
}

describe('Philox', () => {
  it('gives the published known answers of philox4x32-10', () => {
    const all = 0xffffffff;
    const counters = [0, 0, 0, 0, all, all, all, all, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
    const words = call(
      'philox4x32_10',
      tensor(counters, { dtype: 'int64', shape: [3, 4] }),
      tensor([0, 0, all, all, 0xa4093822, 0x299f31d0], { dtype: 'int64', shape: [3, 2] }),
    );
    const expected =
      '6627e8d5 e169c58d bc57ac4c 9b00dbd8 408f276d 41c83b0e a20bc7c6 6d5451fd d16cfe09 94fdcceb 5001e420 24126ea1';
    assert.deepEqual(
      words.toArray().map((word) => Number(word).toString(16).padStart(8, '0')),
      expected.split(' '),
    );
  });
});

describe('dropout', () => {
  for (const dtype of floatTypes) {
    it(`multiplies by the mask of its seed and offset, ${dtype}`, () => {
      for (const [shape, seed, offset] of [
        [[7], 1, 0],
        [[3, 5, 11], 2 ** 40 + 3, 2 ** 32 - 5],
        [[33, 67], 5, 9],
      ] as const) {
        const x = randomTensor([...shape], 1, dtype);
        const factors = dropoutFactors(1, x.numel, 0.3, seed, offset).reshape(...shape);
        assertClose(call('dropout', x, 0.3, seed, offset), x.to('float64').mul(factors), budget[dtype]);
      }
    });
  }

  it('takes strided and empty tensors, and p = 0 changes nothing', () => {
    const x = randomTensor([6, 10], 2).transpose(0, 1);
    assertClose(call('dropout', x, 0.5, 3, 0), call('dropout', x.contiguous(), 0.5, 3, 0), 0);
    assert.deepEqual(call('dropout', zeros([0, 4]), 0.5, 3, 0).shape, [0, 4]);
    assertClose(call('dropout', x, 0, 3, 0), x, 0);
  });

  it('keeps 1 − p of a million elements within five standard errors', () => {
    for (const p of [0.1, 0.5, 0.97]) {
      const kept = call('dropout', ones([1 << 20]), p, 11, 0)
        .gt(0)
        .to('float64')
        .mean()
        .item();
      assert.ok(Math.abs(kept - (1 - p)) < 5 * Math.sqrt((p * (1 - p)) / (1 << 20)), `p ${p}: kept ${kept}`);
    }
  });

  it('does not depend on the number of threads', () => {
    assertSameForAnyThreadCount(() => call('dropout', ones([70001]), 0.1, 4, 2));
  });

  it('has the mask as gradient', () => {
    checkGradients(([x]) => call('dropout', x!, 0.4, 8, 1), [randomTensor([5, 7], 3)]);
  });

  it('refuses a probability outside [0, 1) and other dtypes', () => {
    for (const p of [-0.1, 1, Number.NaN])
      assert.throws(() => call('dropout', ones([4]), p, 0, 0), NativeError);
    assert.throws(
      () => call('dropout', ones([4], 'int64'), 0.1, 0, 0),
      /expected float32, float64 or bfloat16/,
    );
  });
});

describe('residual_dropout', () => {
  for (const [residualType, type] of [
    ['float64', 'float64'],
    ['float32', 'float32'],
    ['bfloat16', 'bfloat16'],
    ['float32', 'bfloat16'],
  ] as const) {
    it(`adds the dropped x, residual ${residualType}, x ${type}`, () => {
      const residual = randomTensor([9, 31], 4, residualType);
      const x = randomTensor([9, 31], 5, type);
      const factors = dropoutFactors(1, 279, 0.2, 6, 0).reshape(9, 31);
      const sum = call('residual_dropout', residual, x, 0.2, 6, 0);
      assert.equal(sum.dtype, residualType);
      assertClose(sum, residual.to('float64').add(x.to('float64').mul(factors)), budget[residualType]);
      const [gradResidual, gradX] = gradients(
        ([r, v]) => call('residual_dropout', r!, v!, 0.2, 6, 0),
        [residual, x],
      );
      const incoming = incomingGradient(sum);
      assertClose(gradResidual!, incoming, 0);
      assert.equal(gradX!.dtype, type);
      assertClose(gradX!, incoming.to('float64').mul(factors), budget[type]);
    });
  }

  it('has right gradients, and refuses unequal shapes', () => {
    checkGradients(
      ([r, x]) => call('residual_dropout', r!, x!, 0.4, 8, 1),
      [randomTensor([4, 6], 3), randomTensor([4, 6], 4)],
    );
    checkGradients(
      ([r, x]) => call('residual_dropout', r!, x!, 0, 8, 1),
      [randomTensor([2, 3], 3), randomTensor([2, 3], 4)],
    );
    assert.throws(
      () => call('residual_dropout', ones([4, 2]), ones([2, 4]), 0.1, 0, 0),
      /must have one shape/,
    );
  });
});

describe('gelu_bias', () => {
  for (const dtype of floatTypes) {
    it(`agrees with gelu(x + bias), forward and backward, ${dtype}`, () => {
      const x = randomTensor([130, 37], 8, dtype).mul(3);
      const bias = randomTensor([37], 9, dtype);
      const plain = ([a, b]: Tensor[]) => a!.add(b!).gelu();
      const wide = [x.to('float64'), bias.to('float64')];
      assertClose(call('gelu_bias', x, bias), plain(wide), budget[dtype]);
      const got = gradients(([a, b]) => call('gelu_bias', a!, b!).to('float64'), [x, bias]);
      const want = gradients(plain, wide);
      for (const [i, gradient] of got.entries())
        assertClose(gradient, want[i]!, budget[dtype], `gradient ${i}`);
    });
  }

  it('is right from -15 to 15 and beyond, and passes NaN on', () => {
    const x = arange(3001, 'float32').sub(1500).div(100).reshape(3001, 1);
    assertClose(call('gelu_bias', x, zeros([1])), x.to('float64').gelu(), 2e-7);
    const edge = tensor([-1e30, -100, 1e30, Number.NaN], { shape: [4, 1] });
    const [low, far, high, nan] = call('gelu_bias', edge, zeros([1])).toArray();
    assert.ok(low === 0 && far === 0 && Math.abs(high! / 1e30 - 1) < 1e-6 && Number.isNaN(nan));
  });

  it('has right gradients by central differences, for any number of threads', () => {
    checkGradients(
      ([x, b]) => call('gelu_bias', x!, b!),
      [randomTensor([3, 4, 5], 10), randomTensor([5], 11)],
    );
    const inputs = [randomTensor([300, 64], 12, 'float32'), randomTensor([64], 13, 'float32')];
    assertSameForAnyThreadCount(() => gradients(([x, b]) => call('gelu_bias', x!, b!), inputs)[1]!);
  });

  it('refuses a bias that does not fit', () => {
    assert.throws(
      () => call('gelu_bias', ones([2, 3]), ones([2])),
      /expected x \[\.\.\., N\] and bias \[N\]/,
    );
  });
});

describe('adamw_', () => {
  const [lr, beta1, beta2, eps, decay, gradScale] = [1e-2, 0.9, 0.999, 1e-8, 0.01, 0.5];
  const shapes = [[3], [150, 131], [17, 2]];

  function tenSteps(dtype: FloatType, gradType: FloatType, fusedKernel: boolean): Tensor[] {
    const params = shapes.map((shape, i) => randomTensor(shape, 30 + i, dtype));
    const first = params.map((p) => zeros(p.shape, dtype));
    const second = params.map((p) => zeros(p.shape, dtype));
    for (let step = 1; step <= 10; step++) {
      const grads = shapes.map((shape, i) => randomTensor(shape, 100 * step + i, gradType));
      if (fusedKernel) {
        callOperator(
          'openplug::adamw_',
          params,
          grads,
          first,
          second,
          lr,
          beta1,
          beta2,
          eps,
          decay,
          step,
          gradScale,
        );
        continue;
      }
      params.forEach((p, i) => {
        const g = grads[i]!.to(dtype).mul(gradScale);
        p.copy_(p.mul(1 - lr * decay));
        first[i]!.copy_(first[i]!.mul(beta1).add(g.mul(1 - beta1)));
        second[i]!.copy_(second[i]!.mul(beta2).add(g.mul(g).mul(1 - beta2)));
        const denominator = second[i]!.sqrt()
          .div(Math.sqrt(1 - beta2 ** step))
          .add(eps);
        p.copy_(p.sub(first[i]!.div(denominator).mul(lr / (1 - beta1 ** step))));
      });
    }
    return params;
  }

  for (const [dtype, gradType] of [
    ['float64', 'float64'],
    ['float32', 'float32'],
    ['float32', 'bfloat16'],
  ] as const) {
    it(`follows the plain update for ten steps, ${dtype} parameters, ${gradType} gradients`, () => {
      const want = tenSteps(dtype, gradType, false);
      for (const [i, p] of tenSteps(dtype, gradType, true).entries())
        assertClose(p, want[i]!, budget[dtype], `parameter ${i}`);
    });
  }

  it('gives the same bits for any number of threads', () => {
    assertSameForAnyThreadCount(() => tenSteps('float32', 'float32', true)[1]!);
  });

  it('refuses tensors that do not fit together', () => {
    const run = (p: Tensor, g: Tensor, step = 1) =>
      callOperator(
        'openplug::adamw_',
        [p],
        [g],
        [p.clone()],
        [p.clone()],
        lr,
        beta1,
        beta2,
        eps,
        decay,
        step,
        1,
      );
    assert.throws(() => run(ones([2, 3]), ones([3, 2])), /must have its shape/);
    assert.throws(() => run(ones([2], 'bfloat16'), ones([2], 'bfloat16')), /keep a float32 master copy/);
    assert.throws(() => run(ones([2, 3]).transpose(0, 1), ones([3, 2])), /must be contiguous/);
    assert.throws(() => run(ones([2]), ones([2]), 0), /step counts from 1/);
  });
});

describe('sum_of_squares', () => {
  it('agrees with library operators and does not depend on the number of threads', () => {
    const inputs = [
      randomTensor([70000], 40, 'float32'),
      randomTensor([5, 3], 41),
      randomTensor([333], 42, 'bfloat16'),
    ];
    const expected = inputs.reduce((sum, x) => sum + x.to('float64').pow(2).sum().item(), 0);
    const total = call('sum_of_squares', inputs);
    assert.equal(total.dtype, 'float64');
    assert.ok(Math.abs(total.item() / expected - 1) < 1e-12);
    assertSameForAnyThreadCount(() => call('sum_of_squares', inputs));
    assert.equal(call('sum_of_squares', []).item(), 0);
  });
});

runOnOlderInstructionSets(import.meta.url);
