// Kernels that replace a chain of library operators, against that chain in float64 over shapes and storage dtypes,
// against central differences, over thread counts, and at their edges. The kernels' part of the file runs again in
// child processes limited to AVX2 and to the baseline.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { aten } from './aten.js';
import { backward } from './autograd.js';
import { full, ones, tensor, zeros } from './create.js';
import { NativeError } from './errors.js';
import {
  assertClose,
  assertSameForAnyThreadCount,
  checkGradients,
  type FloatType,
  floatTypes,
  gradients,
  isLimited,
  randomTensor,
  runOnOlderInstructionSets,
} from './kernels.test-support.js';
import * as nn from './nn.js';
import { scope } from './scope.js';
import { callOperator, type Tensor } from './tensor.js';

/** Largest accepted |difference| / (1 + |expected|) by dtype; bfloat16 has 8 bits. */
const budget: Record<FloatType, number> = { float64: 1e-12, float32: 3e-6, bfloat16: 8e-3 };

describe('crossEntropy', () => {
  const labelsOf = (rows: number, classes: number) =>
    tensor(
      Array.from({ length: rows }, (_, row) => (row * 7919 + 3) % classes),
      { dtype: 'int64', shape: [rows] },
    );
  const plain = (logits: Tensor, labels: Tensor) => aten.nll_loss(logits.logSoftmax(-1), labels);

  for (const dtype of floatTypes) {
    it(`agrees with logSoftmax and nll_loss in float64, forward and backward, ${dtype}`, () => {
      for (const [rows, classes] of [
        [1, 1],
        [3, 7],
        [40, 133],
        [5, 3001],
      ] as const) {
        scope(() => {
          const logits = randomTensor([rows, classes], rows, dtype).mul(3);
          const labels = labelsOf(rows, classes);
          const loss = nn.crossEntropy(logits, labels);
          assert.equal(loss.dtype, dtype === 'float64' ? 'float64' : 'float32');
          assertClose(
            loss,
            plain(logits.to('float64'), labels),
            dtype === 'float64' ? 1e-12 : 1e-6,
            `${rows}`,
          );
          const [got] = gradients(([x]) => nn.crossEntropy(x!, labels), [logits]);
          const [want] = gradients(([x]) => plain(x!, labels), [logits.to('float64')]);
          assert.equal(got!.dtype, dtype);
          assertClose(got!.to('float64').mul(rows), want!.mul(rows), budget[dtype], `gradient ${rows}`);
        });
      }
    });
  }

  it('has right gradients by central differences, also of strided logits', () => {
    checkGradients(([x]) => nn.crossEntropy(x!, labelsOf(4, 6)), [randomTensor([4, 6], 1)]);
    checkGradients(
      ([x]) => nn.crossEntropy(x!.transpose(0, 1).narrow(1, 1, 5), labelsOf(4, 5)),
      [randomTensor([6, 4], 1)],
    );
  });

  it('scales its gradient by what comes in, and again when the graph is kept', () => {
    const logits = randomTensor([4, 6], 2, 'float32');
    logits.requiresGrad = true;
    const loss = nn.crossEntropy(logits, labelsOf(4, 6));
    backward(loss, undefined, true);
    const once = logits.grad!.toArray();
    backward(loss.mul(-3), undefined, true);
    backward(loss);
    for (const [i, value] of logits.grad!.toArray().entries())
      assert.ok(Math.abs(value + once[i]!) < 1e-6, `${i}: ${value} for ${-once[i]!}`);
    logits.grad = undefined;
    backward(nn.crossEntropy(logits, labelsOf(4, 6)).add(nn.crossEntropy(logits, labelsOf(4, 6))));
    assertClose(logits.grad!, tensor(once, { shape: [4, 6] }).mul(2), 1e-6);
    logits.requiresGrad = false;
  });

  it('does not depend on the number of threads, nor on whether a gradient is wanted', () => {
    for (const dtype of floatTypes)
      assertSameForAnyThreadCount(() => {
        const logits = randomTensor([70, 2500], 3, dtype);
        const labels = labelsOf(70, 2500);
        const without = nn.crossEntropy(logits, labels);
        const [gradient] = gradients(
          ([x]) => {
            const loss = nn.crossEntropy(x!, labels);
            assert.equal(loss.item(), without.item());
            return loss;
          },
          [logits],
        );
        return [without, gradient!];
      });
  });

  it('gives masked classes no probability and no gradient, and huge logits no overflow', () => {
    for (const dtype of floatTypes) {
      const real = randomTensor([3, 5], 4, dtype);
      const masked = aten.constant_pad_nd(real, [0, 3], Number.NEGATIVE_INFINITY);
      const labels = labelsOf(3, 5);
      assert.equal(nn.crossEntropy(masked, labels).item(), nn.crossEntropy(real, labels).item());
      const [gradient] = gradients(([x]) => nn.crossEntropy(x!, labels), [masked]);
      assert.deepEqual(gradient!.narrow(1, 5, 3).toArray(), new Array(9).fill(0));
      const huge = tensor([1e30, 0, -1e30], { shape: [1, 3] }).to(dtype);
      assert.equal(nn.crossEntropy(huge, tensor([0], { dtype: 'int64' })).item(), 0);
    }
    const impossible = tensor([0, Number.NEGATIVE_INFINITY], { shape: [1, 2] });
    assert.equal(nn.crossEntropy(impossible, tensor([1], { dtype: 'int64' })).item(), Infinity);
  });

  it('passes NaN on, and is NaN for no rows', () => {
    const bad = tensor([0, Number.NaN, 1, 2, 3, 4], { shape: [2, 3] });
    assert.ok(Number.isNaN(nn.crossEntropy(bad, labelsOf(2, 3)).item()));
    const hopeless = full([1, 3], Number.NEGATIVE_INFINITY);
    assert.ok(Number.isNaN(nn.crossEntropy(hopeless, labelsOf(1, 3)).item()));
    const none = zeros([0, 3]);
    none.requiresGrad = true;
    const loss = nn.crossEntropy(none, labelsOf(0, 3));
    assert.ok(Number.isNaN(loss.item()));
    backward(loss);
    assert.deepEqual(none.grad!.shape, [0, 3]);
  });

  it('leaves rows labelled -100 out of the mean and gives them no gradient', () => {
    for (const dtype of floatTypes) {
      const logits = randomTensor([3, 5], 6, dtype);
      const labels = tensor([2, -100, 4], { dtype: 'int64' });
      const others = tensor([0, 2], { dtype: 'int64' });
      const kept = (x: Tensor) => nn.crossEntropy(x.indexSelect(0, others), labels.indexSelect(0, others));
      assert.equal(nn.crossEntropy(logits, labels).item(), kept(logits).item());
      const [got] = gradients(([x]) => nn.crossEntropy(x!, labels), [logits]);
      const [want] = gradients(([x]) => kept(x!), [logits]);
      assertClose(got!, want!, 0);
      const none = nn.crossEntropy(logits, tensor([-100, -100, -100], { dtype: 'int64' }));
      assert.ok(Number.isNaN(none.item()));
    }
  });

  it('refuses labels that are no class, and shapes and dtypes that do not fit', () => {
    for (const label of [4, -1, -101])
      assert.throws(
        () => nn.crossEntropy(ones([2, 4]), tensor([0, label], { dtype: 'int64' })),
        new RegExp(`label of row 1 is ${label}, expected a class from 0 to 3`),
      );
    assert.throws(() => nn.crossEntropy(ones([2, 4]), labelsOf(3, 4)), /expected int64 labels \[2\]/);
    assert.throws(() => nn.crossEntropy(ones([2, 4]), ones([2])), /expected int64 labels/);
    assert.throws(() => nn.crossEntropy(ones([4]), labelsOf(4, 4)), /expected logits \[M, V\]/);
    assert.throws(() => nn.crossEntropy(ones([2, 4], 'int32'), labelsOf(2, 4)), NativeError);
  });
});

describe('layerNorm', () => {
  const inputsOf = (shape: number[], type: FloatType) => {
    const columns = [shape.at(-1)!];
    const parameters = type === 'float64' ? 'float64' : 'float32';
    return [
      randomTensor(shape, 5, type),
      randomTensor(columns, 6, parameters).add(1),
      randomTensor(columns, 7, parameters),
    ];
  };
  const plain = ([x, weight, bias]: Tensor[]) => {
    const centred = x!.sub(x!.mean([-1], true));
    const variance = centred.mul(centred).mean([-1], true);
    return centred.div(variance.add(1e-3).sqrt()).mul(weight!).add(bias!);
  };

  for (const [type, outType] of [
    ['float64', 'float64'],
    ['float32', 'float32'],
    ['float32', 'bfloat16'],
    ['bfloat16', 'float32'],
    ['bfloat16', 'bfloat16'],
  ] as const) {
    it(`agrees with plain operators in float64, forward and backward, ${type} to ${outType}`, () => {
      for (const shape of [[1, 1], [5], [3, 7], [2, 70, 33], [9, 513]])
        scope(() => {
          const inputs = inputsOf(shape, type);
          const wide = inputs.map((input) => input.to('float64'));
          const fused = ([x, weight, bias]: Tensor[]) => nn.layerNorm(x!, weight!, bias!, 1e-3, outType);
          assert.equal(fused(inputs).dtype, outType);
          assertClose(fused(inputs), plain(wide), budget[outType], `${shape}`);
          const [got, want] = [gradients(fused, inputs), gradients(plain, wide)];
          for (const [i, gradient] of got.entries()) {
            assert.equal(gradient.dtype, inputs[i]!.dtype);
            // Sums of up to 140 products, and gradients of x that cancel: a few times the rounding of one number.
            const tolerance = 4 * budget[i === 0 ? type : type === 'float64' ? type : 'float32'];
            assertClose(gradient, want[i]!, tolerance, `${shape} gradient ${i}`);
          }
        });
    });
  }

  it('has right gradients by central differences, also of strided inputs', () => {
    const inputs = inputsOf([2, 3, 5], 'float64');
    checkGradients(([x, weight, bias]) => nn.layerNorm(x!, weight!, bias!, 1e-3), inputs);
    checkGradients(
      ([x, weight, bias]) => nn.layerNorm(x!.transpose(0, 1).transpose(0, 2), weight!, bias!, 1e-3),
      [randomTensor([3, 5, 2], 8), ...inputs.slice(1)],
    );
  });

  it('does not depend on the number of threads', () => {
    for (const type of floatTypes)
      assertSameForAnyThreadCount(() => {
        const inputs = inputsOf([700, 96], type);
        const fused = ([x, weight, bias]: Tensor[]) => nn.layerNorm(x!, weight!, bias!, 1e-3);
        return [fused(inputs), ...gradients(fused, inputs)];
      });
  });

  it('subtracts large means exactly enough, and takes constant and empty rows', () => {
    const x = randomTensor([4, 300], 9, 'float32').add(1000);
    const [weight, bias] = [ones([300]), zeros([300])];
    const wide = [x, weight, bias].map((input) => input.to('float64'));
    assertClose(nn.layerNorm(x, weight, bias, 1e-3), plain(wide), 2e-4);
    assert.deepEqual(nn.layerNorm(full([1, 300], 7), weight, bias, 1e-5).toArray(), bias.toArray());
    assert.deepEqual(nn.layerNorm(zeros([0, 300]), weight, bias, 1e-5).shape, [0, 300]);
    const [gradX, gradWeight] = gradients(
      ([a, w]) => nn.layerNorm(a!, w!, bias, 1e-5),
      [zeros([0, 300]), weight],
    );
    assert.deepEqual(gradX!.shape, [0, 300]);
    assert.deepEqual(gradWeight!.toArray(), bias.toArray());
  });

  it('takes half-precision parameters and results, computing in fp32', () => {
    const inputs = inputsOf([3, 40], 'float32').map((input) => input.to('bfloat16').to('float16'));
    const output = nn.layerNorm(inputs[0]!, inputs[1]!, inputs[2]!, 1e-3);
    assert.equal(output.dtype, 'float16');
    assertClose(output, plain(inputs.map((input) => input.to('float64'))), 1e-3);
    const [x, ...parameters] = inputs.map((input) => input.to('bfloat16'));
    assert.equal(nn.layerNorm(x!, parameters[0]!, parameters[1]!, 1e-3).dtype, 'bfloat16');
  });

  it('refuses shapes and dtypes that do not fit', () => {
    const run = (x: Tensor, weight: Tensor, bias: Tensor) =>
      callOperator('openplug::layer_norm', x, weight, bias, 1e-5, 'float32');
    assert.throws(() => run(ones([2, 3]), ones([2]), ones([2])), /expected x \[\.\.\., E\]/);
    assert.throws(() => run(ones([2, 3]), ones([3]), ones([2])), /expected x \[\.\.\., E\]/);
    assert.throws(
      () => run(ones([2, 3]), ones([3], 'bfloat16'), ones([3])),
      /both be float32 or both float64/,
    );
    assert.throws(() => run(ones([2, 3], 'float64'), ones([3]), ones([3])), /must be float32 or bfloat16/);
    assert.throws(
      () => run(ones([2, 3], 'float64'), ones([3], 'float64'), ones([3], 'float64')),
      /float64, got/,
    );
  });
});

describe('memory of tensors', { skip: isLimited }, () => {
  it('stays bounded over 2,000 steps of random sizes, some kept for later steps', () => {
    let state = 1;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const kept: Tensor[] = [];
    const step = () => {
      const made: Tensor[] = [];
      for (let i = 10 + random() * 20; i > 0; i--) {
        made.push(full([Math.floor(2 ** (4 + random() * 15))], 1)); // 64 bytes to 2 MB
        if (random() < 0.4) made.splice(Math.floor(random() * made.length), 1)[0]?.dispose();
      }
      if (kept.length > 40) for (const old of kept.splice(0, 20)) old.dispose();
      const survivor = made.pop();
      if (survivor) kept.push(survivor);
      for (const one of made) one.dispose();
    };
    for (let i = 0; i < 200; i++) step();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 1800; i++) step();
    for (const one of kept) one.dispose();
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 100e6, `${grown} bytes more after making and freeing several GB`);
  });
});

runOnOlderInstructionSets(import.meta.url);
