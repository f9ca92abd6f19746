import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  aten,
  backward,
  type CustomFunction,
  checkpoint,
  customFunction,
  enableGrad,
  liveTensorCount,
  NativeError,
  noGrad,
  ones,
  scope,
  type Tensor,
  tensor,
  zeros,
} from './index.js';

const leaf = (values: number[], shape = [values.length]): Tensor =>
  tensor(values, { dtype: 'float64', shape, requiresGrad: true });

/** Compares gradients of Σ f(inputs)·w, w fixed, with central differences in float64. */
function checkGradients(body: (...inputs: Tensor[]) => Tensor, inputs: Tensor[], tolerance = 1e-7): void {
  const loss = (...given: Tensor[]): Tensor => {
    const output = body(...given);
    const weights = tensor(
      Array.from({ length: output.numel }, (_, i) => Math.sin(i + 1)),
      { dtype: 'float64', shape: output.shape },
    );
    return output.mul(weights).sum();
  };
  scope(() => backward(loss(...inputs)));
  inputs.forEach((input, which) => {
    const values = input.detach().toArray();
    const analytic = input.grad!.toArray();
    const step = 1e-6;
    values.forEach((value, index) => {
      const at = (shifted: number): number =>
        scope(() => {
          const moved = tensor(values.with(index, shifted), { dtype: 'float64', shape: input.shape });
          return noGrad(() => loss(...inputs.map((other, i) => (i === which ? moved : other))).item());
        });
      const numeric = (at(value + step) - at(value - step)) / (2 * step);
      assert.ok(
        Math.abs(numeric - analytic[index]!) <= tolerance * Math.max(1, Math.abs(numeric)),
        `input ${which}[${index}]: ${analytic[index]} by backward, ${numeric} by differences`,
      );
    });
  });
}

const swish: CustomFunction<{ x: Tensor; s: Tensor }> = {
  forward(x) {
    const s = x!.sigmoid();
    return { outputs: [x!.mul(s)], saved: { x: x!, s } };
  },
  backward({ x, s }, [gradient]) {
    return [gradient!.mul(s.add(x.mul(s).mul(s.neg().add(1))))];
  },
};

describe('gradients', () => {
  it('accumulate until cleared', () => {
    const x = leaf([1, 2]);
    assert.equal(x.grad, undefined);
    backward(x.mul(x).sum());
    backward(x.mul(x).sum());
    assert.deepEqual(x.grad!.toArray(), [4, 8]);
    x.grad = undefined;
    backward(x.mul(3).sum());
    assert.deepEqual(x.grad!.toArray(), [3, 3]);
    x.grad = tensor([5, 5], { dtype: 'float64' });
    backward(x.sum());
    assert.deepEqual(x.grad!.toArray(), [6, 6]);
  });

  it('start from a given gradient, or from several roots', () => {
    const x = leaf([1, 2]);
    backward(x.mul(2), tensor([10, 100], { dtype: 'float64' }));
    assert.deepEqual(x.grad!.toArray(), [20, 200]);
    x.grad = undefined;
    backward([x.sum(), x.mul(x)], [tensor([1], { dtype: 'float64', shape: [] }), ones([2], 'float64')]);
    assert.deepEqual(x.grad!.toArray(), [3, 5]);
    assert.throws(() => backward(x.mul(2)), NativeError); // not a scalar
    assert.throws(() => backward(ones([1])), NativeError); // nothing to differentiate
    assert.throws(() => {
      tensor([1], { dtype: 'int64', requiresGrad: true });
    }, NativeError);
  });

  it('need retainGraph to be computed twice', () => {
    const x = leaf([3]);
    const loss = x.mul(x).sum();
    backward(loss, undefined, true);
    backward(loss);
    assert.deepEqual(x.grad!.toArray(), [12]);
    assert.throws(() => backward(loss), /second time/);
  });

  it('are not recorded in noGrad, are in enableGrad, and the mode survives exceptions', () => {
    const x = leaf([1]);
    noGrad(() => {
      assert.equal(x.mul(2).requiresGrad, false);
      assert.equal(
        enableGrad(() => x.mul(2).requiresGrad),
        true,
      );
      assert.throws(() =>
        enableGrad(() => {
          throw new Error('x');
        }),
      );
      assert.equal(x.mul(2).requiresGrad, false);
    });
    assert.throws(() => noGrad(() => x.matmul(3 as unknown as Tensor)));
    assert.equal(x.mul(2).requiresGrad, true);
    assert.equal(x.detach().requiresGrad, false);
  });

  const unary: [string, (x: Tensor) => Tensor][] = [
    ['exp', (x) => x.exp()],
    ['gelu', (x) => x.gelu()],
    ['gelu tanh', (x) => x.gelu('tanh')],
    ['softmax', (x) => x.softmax(1)],
    ['logSoftmax', (x) => x.logSoftmax(0)],
    ['transpose, narrow, reshape', (x) => x.transpose(0, 1).narrow(0, 1, 2).reshape(-1).pow(3)],
    ['cumsum, mean', (x) => x.cumsum(1).mul(x).mean([0])],
    ['indexSelect', (x) => x.indexSelect(1, tensor([2, 0, 2], { dtype: 'int64' })).mul(2)],
    ['layer norm', (x) => aten.native_layer_norm(x, [3], undefined, undefined, 1e-5)[0]],
  ];
  const data = [0.3, -1.2, 0.7, 2.1, -0.4, 0.9];
  for (const [name, body] of unary)
    it(`agree with finite differences: ${name}`, () => checkGradients(body, [leaf(data, [2, 3])]));
  it('agree with finite differences: matmul with bias', () =>
    checkGradients(
      (x, w, b) => aten.linear(x, w, b),
      [leaf(data, [2, 3]), leaf(data, [2, 3]), leaf([1, -1])],
    ));
});

describe('customFunction', () => {
  it('agrees with finite differences, and with libtorch’s own', () => {
    checkGradients((x) => customFunction(swish, [x])[0]!, [leaf([0.3, -1.2, 2])]);
    const [x, y] = [leaf([0.3, -1.2]), leaf([0.3, -1.2])];
    backward(customFunction(swish, [x])[0]!.sum());
    backward(aten.silu(y).sum());
    assert.ok(Math.abs(x.grad!.sub(y.grad!).abs().max().item()) < 1e-15);
  });

  it('takes several inputs and gives several outputs; unused ones have no gradient', () => {
    const seen: (number[] | undefined)[] = [];
    const definition: CustomFunction<Tensor[]> = {
      forward: (a, b) => ({ outputs: [a!.mul(b!), a!.add(b!)], saved: [a!, b!] }),
      backward([a, b], [product, sum]) {
        seen.push(product?.toArray(), sum?.toArray());
        const of = (other: Tensor) => {
          const parts = [product?.mul(other), sum].filter((part) => part !== undefined);
          return parts.length === 2 ? parts[0]!.add(parts[1]!) : parts[0];
        };
        return [of(b!), of(a!)];
      },
    };
    checkGradients(
      (a, b) => {
        const [product, sum] = customFunction(definition, [a, b]);
        return product!.mul(sum!);
      },
      [leaf([1, 2]), leaf([3, -1])],
    );
    seen.length = 0;
    const a = leaf([2]);
    const b = tensor([5], { dtype: 'float64' });
    backward(customFunction(definition, [a, b])[1]!.sum());
    assert.deepEqual(seen, [undefined, [1]]);
    assert.deepEqual(a.grad!.toArray(), [1]);
    assert.equal(b.grad, undefined);
  });

  it('holds what it saves as long as the graph, not the scope, and no longer', () => {
    const x = leaf([0.5]);
    const before = liveTensorCount();
    const loss = scope(() => customFunction(swish, [x.mul(1)])[0]!.sum());
    assert.equal(liveTensorCount(), before + 1); // the loss; saved tensors are the graph's, not ours
    backward(loss, undefined, true);
    backward(loss);
    const gradient = x.grad!;
    x.grad = undefined;
    backward(aten.silu(x).sum());
    assert.ok(Math.abs(gradient.item() - 2 * x.grad!.item()) < 1e-15);
    assert.throws(() => backward(loss), /retainGraph|second time/);
  });

  it('frees a graph that is never run, also when it saved its own output', () => {
    const saveOutput: CustomFunction<Tensor> = {
      forward(x) {
        const output = x!.exp();
        return { outputs: [output], saved: output };
      },
      backward: (output, [gradient]) => [gradient!.mul(output)],
    };
    checkGradients((x) => customFunction(saveOutput, [x])[0]!, [leaf([0.3, -1.2])]);
    const x = zeros([1], 'float64').expand(2_000_000); // 16 MB in float64 for each output
    x.requiresGrad = true;
    const run = () => scope(() => customFunction(saveOutput, [x])[0]!.narrow(0, 0, 1).item());
    run();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 30; i++) run();
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 200e6, `${grown} bytes more after 30 rounds of 16 MB`);
  });

  it('is not recorded where no gradient is wanted', () => {
    const x = leaf([1]);
    assert.equal(noGrad(() => customFunction(swish, [x]))[0]!.requiresGrad, false);
    assert.equal(customFunction(swish, [x.detach()])[0]!.requiresGrad, false);
  });

  it('lets integer outputs pass without a gradient', () => {
    const x = leaf([3, 1, 2]);
    const definition: CustomFunction<undefined> = {
      forward(input) {
        const [values, indices] = input!.sort(0);
        return { outputs: [indices, values.mul(1)], saved: undefined };
      },
      backward: (_, [none, gradient]) => [none ?? gradient!.mul(2)],
    };
    const [indices, values] = customFunction(definition, [x]);
    assert.deepEqual(indices!.toArray(), [1, 2, 0]);
    assert.equal(indices!.requiresGrad, false);
    backward(values!.sum());
    assert.deepEqual(x.grad!.toArray(), [2, 2, 2]);
  });

  const failing = (gradients: (gradient: Tensor) => (Tensor | undefined)[]): CustomFunction<null> => ({
    forward: (x) => ({ outputs: [x!.mul(1)], saved: null }),
    backward: (_, [gradient]) => gradients(gradient!),
  });

  it('passes on what a backward throws, unchanged, whatever it is', () => {
    const x = leaf([1, 2]);
    for (const thrown of [new TypeError('mine'), 'a string', 42, undefined, null, { any: 'thing' }]) {
      const before = liveTensorCount();
      let caught: unknown = 'nothing';
      try {
        scope(() => {
          const [y] = customFunction(
            failing(() => {
              throw thrown;
            }),
            [x.mul(2)],
          );
          backward(y!.mul(2).sum());
        });
      } catch (error) {
        caught = error;
      }
      assert.equal(caught, thrown);
      assert.equal(liveTensorCount(), before);
    }
    backward(x.sum()); // and the engine goes on
    assert.deepEqual(x.grad!.toArray(), [1, 1]);
  });

  it('refuses wrong gradients', () => {
    const x = leaf([1, 2]);
    const run = (definition: CustomFunction<null>) => () =>
      scope(() => backward(customFunction(definition, [x])[0]!.sum()));
    const before = liveTensorCount();
    assert.throws(run(failing((g) => [g, g])), {
      name: 'NativeError',
      message: /2 gradients for 1 inputs/,
    });
    assert.throws(run(failing(() => [])), /0 gradients for 1 inputs/);
    assert.throws(run(failing(() => [ones([3], 'float64')])), /invalid gradient/);
    assert.throws(run(failing(() => [3 as unknown as Tensor])), /Tensor/);
    assert.equal(liveTensorCount(), before);
    run(failing(() => [undefined]))();
    assert.equal(x.grad, undefined);
  });

  it('refuses outputs that are inputs or views', () => {
    const x = leaf([1, 2]);
    const plain = tensor([1, 2], { dtype: 'float64' });
    for (const outputs of [(a: Tensor) => a, (a: Tensor) => a.narrow(0, 0, 1), () => plain])
      assert.throws(
        () =>
          customFunction({ forward: (a) => ({ outputs: [outputs(a!)], saved: 0 }), backward: () => [] }, [
            x,
            plain,
          ]),
        /forward must return new tensors/,
      );
    assert.equal(plain.requiresGrad, false);
  });
});

describe('checkpoint', () => {
  const data = [0.3, -1.2, 0.7, 2.1];
  const build = () => {
    const w = leaf([0.5, -0.3, 0.2, 0.8], [2, 2]);
    const b = leaf([0.1, 0.2]);
    return { w, b, layer: (x: Tensor) => aten.linear(x, w, b).gelu().add(x) };
  };

  it('gives the same result and gradients as running plainly, closure parameters included', () => {
    const run = (wrap: (layer: (x: Tensor) => Tensor, x: Tensor) => Tensor) => {
      const { w, b, layer } = build();
      const x = leaf(data, [2, 2]);
      const y = wrap(layer, wrap(layer, x));
      backward(y.mul(y).sum());
      return [y, x.grad!, w.grad!, b.grad!].map((item) => item.toArray());
    };
    const plain = run((layer, x) => layer(x));
    assert.deepEqual(
      run((layer, x) => checkpoint(layer, [x])),
      plain,
    );
    const nested = run((layer, x) =>
      checkpoint((y) => checkpoint(layer, [checkpoint((z) => z.mul(1), [y])]), [x]),
    );
    assert.deepEqual(nested, plain);
    // the forward's scope ends before the backward pass
    assert.deepEqual(
      run((layer, x) => scope(() => checkpoint(layer, [x]))),
      plain,
    );
  });

  it('reaches closure parameters when no input requires a gradient', () => {
    const { w, layer } = build();
    const x = tensor(data, { dtype: 'float64', shape: [2, 2] });
    backward(checkpoint(layer, [x]).sum());
    const gradient = w.grad!.toArray();
    w.grad = undefined;
    backward(layer(x).sum());
    assert.deepEqual(w.grad!.toArray(), gradient);
  });

  it('gives the same gradient each time with retainGraph', () => {
    const { w, layer } = build();
    const x = leaf(data, [2, 2]);
    const loss = checkpoint(layer, [x]).sum();
    backward(loss, undefined, true);
    const [dx, dw] = [x.grad!.toArray(), w.grad!.toArray()];
    backward(loss);
    assert.deepEqual(
      x.grad!.toArray(),
      dx.map((value) => 2 * value),
    );
    assert.deepEqual(
      w.grad!.toArray(),
      dw.map((value) => 2 * value),
    );
  });

  it('takes bodies that return views, and runs 200 in a row', () => {
    const x = leaf(data);
    let y = x.mul(1);
    for (let i = 0; i < 200; i++)
      y = checkpoint((z) => z.mul(1).reshape(2, 2).transpose(0, 1).reshape(-1), [y]);
    backward(y.sum());
    assert.deepEqual(x.grad!.toArray(), [1, 1, 1, 1]);
    const z = checkpoint((input) => input.mul(2).narrow(0, 1, 2), [x]);
    assert.deepEqual(z.toArray(), [-2.4, 1.4]);
  });

  it('nests 50 deep, and says so when it is too deep', () => {
    const x = leaf([1]);
    const nest = (input: Tensor, depth: number): Tensor =>
      depth === 0 ? input.mul(2) : checkpoint((inner) => nest(inner, depth - 1), [input]);
    backward(nest(x, 50).sum());
    assert.equal(x.grad!.item(), 2);
    assert.throws(() => backward(nest(x, 70).sum()), {
      name: 'NativeError',
      message: /only run on the thread that made it.*60 deep/,
    });
    x.grad = undefined;
    backward(nest(x, 3).sum());
    assert.equal(x.grad!.item(), 2);
  });

  it('passes on errors of the recomputation', () => {
    const x = leaf(data);
    let calls = 0;
    const error = new Error('second time');
    const y = checkpoint(
      (z) => {
        if (calls++ > 0) throw error;
        return z.mul(2);
      },
      [x],
    );
    assert.throws(
      () => backward(y.sum()),
      (thrown) => thrown === error,
    );
  });
});
