import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  arange,
  aten,
  callOperator,
  DisposedError,
  Generator,
  NativeError,
  type OperatorArgument,
  ones,
  ShapeError,
  scope,
  Tensor,
  tensor,
  zeros,
} from './index.js';

/** Asserts a NativeError whose text matches all patterns. */
function refuses(body: () => unknown, ...patterns: RegExp[]): void {
  assert.throws(body, (error: Error) => {
    assert.ok(error instanceof NativeError, `${error}`);
    assert.equal(error.code, 'NATIVE');
    for (const pattern of patterns) assert.match(error.message, pattern);
    assert.doesNotMatch(error.message, /Exception raised from/);
    return true;
  });
}

describe('operators: kinds of arguments', () => {
  const x = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] });

  it('Tensor and Scalar, whole numbers keeping integer dtypes', () => {
    const ids = arange(3);
    assert.equal(ids.add(1).dtype, 'int64');
    assert.equal(ids.add(0.5).dtype, 'float32');
    assert.deepEqual(aten['add.Tensor'](x, x, 2).toArray(), [3, 6, 9, 12, 15, 18]); // alpha
    assert.deepEqual(aten['eq.Scalar'](tensor([1, 0], { dtype: 'bool' }), 1).toArray(), [1, 0]);
    assert.equal(callOperator('aten::add.Scalar', ids, 2n ** 53n + 1n) instanceof Tensor, true);
    const big = callOperator('aten::add.Scalar', zeros([1], 'int64'), 2n ** 53n + 1n) as Tensor;
    assert.equal((big.toTypedArray() as BigInt64Array)[0], 2n ** 53n + 1n);
    for (const value of [Number.NaN, Infinity, -Infinity, -0, 1e300])
      assert.ok(Object.is(tensor([1], { dtype: 'float64' }).fill_(value).item(), value), `${value}`);
  });

  it('Tensor?, present, undefined, null and left out', () => {
    const weight = ones([4, 3]);
    const bias = tensor([1, 2, 3, 4]);
    const with_ = aten.linear(x, weight, bias);
    for (const without of [
      aten.linear(x, weight),
      aten.linear(x, weight, undefined),
      callOperator('aten::linear', x, weight, null) as Tensor,
    ])
      assert.deepEqual(with_.sub(without).toArray(), [1, 2, 3, 4, 1, 2, 3, 4]);
  });

  it('Tensor[], Tensor?[] and lists of scalars', () => {
    assert.deepEqual(aten.cat([x, x], 1).shape, [2, 6]);
    assert.deepEqual(
      (
        callOperator('aten::index.Tensor', x, [undefined, tensor([2, 0], { dtype: 'int64' })]) as Tensor
      ).toArray(),
      [3, 1, 6, 4],
    );
    assert.deepEqual(
      aten['_foreach_add.ScalarList']([ones([1]), ones([1])], [1, 2.5]).map((item) => item.item()),
      [2, 3.5],
    );
  });

  it('int[], bool, str, float, dtype, memory format and defaults', () => {
    assert.deepEqual(aten.permute(x, [1, 0]).shape, [3, 2]);
    assert.deepEqual(aten['sum.dim_IntList'](x, [0], true, 'float64').dtype, 'float64');
    assert.deepEqual(aten['sum.dim_IntList'](x, [-1]).toArray(), [6, 15]);
    assert.deepEqual(aten['std.dim'](x, [1], false).toArray().length, 2);
    assert.ok(Math.abs(aten.gelu(tensor([1]), 'tanh').item() - 0.8411919906) < 1e-6);
    assert.ok(Math.abs(aten.gelu(tensor([1])).item() - 0.8413447461) < 1e-6);
    assert.deepEqual(aten.leaky_relu(tensor([-1])).item(), Math.fround(-0.01));
    assert.deepEqual(aten.clone(aten.t(x), 'contiguous').shape, [3, 2]);
    assert.deepEqual(aten.argmax(x).item(), 5); // int? left out
    assert.deepEqual(aten.argmax(x, 0).toArray(), [1, 1, 1]);
  });

  it('a generator', () => {
    const draw = () => (callOperator('aten::rand.generator', [4], new Generator(7)) as Tensor).toArray();
    assert.deepEqual(draw(), draw());
  });

  it('gives tuples, lists, numbers and booleans', () => {
    const [values, indices] = aten.topk(x, 2);
    assert.deepEqual([values.shape, indices.dtype], [[2, 2], 'int64']);
    assert.deepEqual(
      aten['split.Tensor'](x, 2, 1).map((part) => part.shape),
      [
        [2, 2],
        [2, 1],
      ],
    );
    assert.equal(callOperator('aten::equal', x, x), true);
    assert.equal(callOperator('aten::size.int', x, 1), 3);
    assert.equal(callOperator('aten::item', tensor([2.5])), 2.5);
  });

  it('changes in place what in-place operators are given', () => {
    const y = zeros([2]);
    assert.equal(y.add_(3).mul_(2), y);
    assert.deepEqual(y.toArray(), [6, 6]);
    assert.deepEqual(y.add_(tensor([1, 2]), 10).toArray(), [16, 26]);
    assert.deepEqual(y.copy_(tensor([5, 6], { dtype: 'int64' })).toArray(), [5, 6]);
    const z = tensor([1, 2, 3]);
    z.shape; // read before its change
    aten.unsqueeze_(z, 0);
    assert.deepEqual(z.shape, [1, 3]);
  });

  it('has a bridge for every typed operator’s arguments', () => {
    // One of each of the rarer types that the generated signatures offer.
    assert.equal(aten['to.device'](x, 'cpu', 'float64').dtype, 'float64');
    assert.deepEqual(aten.upsample_nearest1d(ones([1, 1, 2]), [4], undefined).shape, [1, 1, 4]);
    const [mean, rstd] = aten.native_layer_norm(x, [3], undefined, undefined, 0).slice(1) as [Tensor, Tensor];
    assert.deepEqual(mean.toArray(), [2, 5]);
    assert.equal(rstd.shape[0], 2);
  });
});

describe('operators: errors', () => {
  const x = zeros([2, 3]);

  it('an unknown operator or overload', () => {
    refuses(() => callOperator('aten::no_such_thing', x), /no operator "aten::no_such_thing"/);
    refuses(() => callOperator('aten::add.NoSuch', x, x), /no operator "aten::add.NoSuch"/);
    refuses(() => callOperator('', x), /no operator ""/);
  });

  const wrong: [string, OperatorArgument[], RegExp][] = [
    ['aten::neg', [3], /self: expected a Tensor, got number 3/],
    ['aten::neg', [null], /self: expected a Tensor, got null/],
    ['aten::neg', ['x'], /self: expected a Tensor, got string "x"/],
    ['aten::neg', [new Generator(1)], /self: expected a Tensor, got a native handle of another kind/],
    ['aten::neg', [{} as Tensor], /self: expected a Tensor, got an object/],
    ['aten::neg', [(() => 1) as unknown as Tensor], /got a function/],
    ['aten::linear', [x, x, 'no'], /bias: expected a Tensor, got string "no"/],
    ['aten::cat', [x], /tensors: expected an array, got/],
    ['aten::cat', [[x, 3]], /tensors: expected a Tensor, got number 3/],
    ['aten::index.Tensor', [x, [3]], /indices: expected a Tensor, got number 3/],
    ['aten::add.Scalar', [x, 'one'], /other: expected a number, got string "one"/],
    ['aten::add.Scalar', [x, [1]], /other: expected a number, got an array/],
    ['aten::permute', [x, 1], /dims: expected an array, got number 1/],
    ['aten::permute', [x, [0, 1.5]], /dims: expected an integer, got 1.5/],
    ['aten::narrow', [x, 0, 0, 'int64'], /length: expected a number, got string "int64"/],
    ['aten::narrow', [x, 0, Number.NaN, 1], /start: expected/],
    ['aten::select.int', [x, 0, 2n ** 70n], /does not fit in 64 bits/],
    ['aten::sum.dim_IntList', [x, [0], 1], /keepdim: expected a boolean, got number 1/],
    ['aten::sum.dim_IntList', [x, [0], true, 'float7'], /dtype: unknown dtype "float7"/],
    ['aten::sum.dim_IntList', [x, [0], true, 7], /dtype: expected a string, got number 7/],
    ['aten::gelu', [x, 3], /approximate: expected a string, got number 3/],
    ['aten::leaky_relu', [x, true as unknown as number, 1], /expected at most 2/],
    [
      'aten::rand.generator',
      [[2], x],
      /generator: expected a Generator, got a native handle of another kind/,
    ],
    ['aten::clone', [x, 'sideways'], /memory_format: expected 'contiguous' or 'preserve'/],
  ];
  for (const [name, operands, pattern] of wrong)
    it(`${name}: ${pattern.source.slice(0, 60)}`, () => {
      refuses(() => callOperator(name, ...operands), pattern, new RegExp(name.replace('.', '\\.')));
    });

  it('missing and surplus arguments', () => {
    refuses(
      () => callOperator('aten::matmul', x),
      /aten::matmul\(self: float32\[2,3\]\)/,
      /'other' is missing/,
    );
    refuses(() => callOperator('aten::matmul'), /'self' is missing/);
    refuses(() => callOperator('aten::neg', x, 1), /got 2 arguments, expected at most 1/);
    refuses(() => callOperator('aten::neg', ...Array(100).fill(x)), /got 100 arguments/);
  });

  it('a shape mismatch names operator, arguments, shapes and dtypes', () => {
    refuses(
      () => callOperator('aten::mm', x, zeros([4, 5], 'float32')),
      /^aten::mm\(self: float32\[2,3\], mat2: float32\[4,5\]\): /,
      /cannot be multiplied/,
    );
    refuses(
      () => x.matmul(zeros([3, 2], 'float64')),
      /aten::matmul\(self: float32\[2,3\], other: float64\[3,2\]\)/,
    );
    refuses(() => x.indexSelect(0, tensor([5], { dtype: 'int64' })), /aten::index_select/, /range/);
    refuses(() => zeros([2 ** 40, 2 ** 20]), /aten::zeros/);
    assert.throws(() => x.item(), ShapeError);
  });

  it('a disposed tensor: as receiver, argument, list item, and everywhere else', () => {
    const gone = ones([2]);
    gone.dispose();
    gone.dispose(); // allowed
    const uses: (() => unknown)[] = [
      () => gone.shape,
      () => gone.dtype,
      () => gone.toArray(),
      () => gone.item(),
      () => gone.requiresGrad,
      () => {
        gone.requiresGrad = true;
      },
      () => gone.grad,
      () => gone.add(1),
      () => gone.add_(1),
      () => ones([2]).add(gone),
      () => ones([2]).add_(gone),
      () => ones([2]).where(gone, ones([2])),
      () => aten.cat([ones([2]), gone]),
      () => callOperator('aten::index.Tensor', ones([2]), [gone]),
    ];
    for (const use of uses)
      assert.throws(use, (error: Error) => {
        assert.ok(error instanceof DisposedError, `${use}: ${error}`);
        assert.equal(error.code, 'DISPOSED');
        return true;
      });
    assert.throws(
      () => ones([2]).add(gone),
      /aten::add\.Tensor\(self: float32\[2\], other: disposed tensor\)/,
    );
    assert.equal(gone.isDisposed, true);
    assert.equal(String(gone), 'Tensor(disposed)');
  });

  it('leaves everything usable afterwards', () => {
    assert.deepEqual(
      scope(() => ones([2]).add(1).toArray()),
      [2, 2],
    );
  });
});
