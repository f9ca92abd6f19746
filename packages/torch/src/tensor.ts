// The Tensor: a handle on a libtorch tensor, with the operations that the rest of the code uses every day, and
// `callOperator`, which reaches every operator that is registered with libtorch.
import { DisposedError, ShapeError } from './errors.js';
import {
  type DType,
  type GeneratorHandle,
  NativeObject,
  type NativeValue,
  native,
  type TensorHandle,
} from './native.js';
import { trackTensor } from './scope.js';

/** Typed arrays that tensors are read into. bfloat16 and float16 are widened to Float32Array. */
export type TensorData =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array;

const arrayOf: Record<DType, new (length: number) => TensorData> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Float32Array,
  bfloat16: Float32Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/**
 * An n-dimensional array with automatic differentiation. Free it with `dispose()`, `using` or `scope()`;
 * the garbage collector is the backstop.
 */
export class Tensor extends NativeObject<TensorHandle> implements Disposable {
  #disposed = false;
  #dtype: DType | undefined;

  constructor(handle: TensorHandle) {
    super(handle);
    trackTensor(this);
  }

  /** Sizes, outermost first. */
  get shape(): readonly number[] {
    this.#alive();
    return native.shape(this.handle); // not remembered: in-place operators and those with `out` may change it
  }

  get dtype(): DType {
    this.#alive();
    this.#dtype ??= native.dtype(this.handle);
    return this.#dtype;
  }

  /** Number of elements. */
  get numel(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  get requiresGrad(): boolean {
    return native.requiresGrad(this.handle);
  }

  set requiresGrad(value: boolean) {
    native.requiresGrad(this.handle, value);
  }

  /** The accumulated gradient of a leaf; a fresh handle at each read. Assign undefined to clear it. */
  get grad(): Tensor | undefined {
    const handle = native.grad(this.handle);
    return handle && new Tensor(handle);
  }

  set grad(value: Tensor | undefined) {
    native.grad(this.handle, value?.handle ?? null);
  }

  /** Frees the tensor now. Using it afterwards throws; disposing twice is allowed. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    native.dispose(this.handle);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #alive(): void {
    if (this.#disposed)
      throw new DisposedError(
        'This tensor was disposed, by dispose(), `using` or the end of a scope. keep() it, or return it from the scope.',
      );
  }

  /** A copy of the elements in row-major order. */
  toTypedArray(): TensorData {
    const dtype = this.dtype;
    if (dtype === 'bfloat16' || dtype === 'float16') {
      using wide = this.detach().to('float32');
      return wide.toTypedArray();
    }
    const data = new arrayOf[dtype](this.numel);
    native.readBytes(this.handle, data);
    return data;
  }

  /** A copy of the elements as numbers, row-major. int64 values past 2^53 lose precision. */
  toArray(): number[] {
    return Array.from(this.toTypedArray() as ArrayLike<number | bigint>, Number);
  }

  /** The value of a one-element tensor. @throws ShapeError for any other size. */
  item(): number {
    if (this.numel !== 1)
      throw new ShapeError(`item() needs exactly one element, this tensor has shape [${this.shape}].`);
    return this.toArray()[0]!;
  }

  override toString(): string {
    return this.#disposed ? 'Tensor(disposed)' : `Tensor(${this.dtype}[${this.shape}])`;
  }

  // Arithmetic. A number works as a scalar of the tensor's dtype.
  add(other: Tensor | number): Tensor {
    return this.#binary('add', other);
  }
  sub(other: Tensor | number): Tensor {
    return this.#binary('sub', other);
  }
  mul(other: Tensor | number): Tensor {
    return this.#binary('mul', other);
  }
  div(other: Tensor | number): Tensor {
    return this.#binary('div', other);
  }
  pow(exponent: number): Tensor {
    return this.#op('pow.Tensor_Scalar', exponent);
  }
  neg(): Tensor {
    return this.#op('neg');
  }
  abs(): Tensor {
    return this.#op('abs');
  }
  sqrt(): Tensor {
    return this.#op('sqrt');
  }
  exp(): Tensor {
    return this.#op('exp');
  }
  log(): Tensor {
    return this.#op('log');
  }
  tanh(): Tensor {
    return this.#op('tanh');
  }
  sigmoid(): Tensor {
    return this.#op('sigmoid');
  }
  /** x·Φ(x), by default in the exact erf form. */
  gelu(approximate: 'none' | 'tanh' = 'none'): Tensor {
    return this.#op('gelu', approximate);
  }
  softmax(dim: number): Tensor {
    return this.#op('softmax.int', dim);
  }
  logSoftmax(dim: number): Tensor {
    return this.#op('log_softmax.int', dim);
  }
  matmul(other: Tensor): Tensor {
    return this.#op('matmul', other);
  }

  // Comparison, giving bool tensors.
  eq(other: Tensor | number): Tensor {
    return this.#binary('eq', other);
  }
  ne(other: Tensor | number): Tensor {
    return this.#binary('ne', other);
  }
  lt(other: Tensor | number): Tensor {
    return this.#binary('lt', other);
  }
  le(other: Tensor | number): Tensor {
    return this.#binary('le', other);
  }
  gt(other: Tensor | number): Tensor {
    return this.#binary('gt', other);
  }
  ge(other: Tensor | number): Tensor {
    return this.#binary('ge', other);
  }
  /** Elements of `other` where `condition` is false. */
  where(condition: Tensor, other: Tensor): Tensor {
    return callOperator('aten::where.self', condition, this, other) as Tensor;
  }
  maskedFill(mask: Tensor, value: number): Tensor {
    return this.#op('masked_fill.Scalar', mask, value);
  }

  // Reductions. Without `dims` over everything.
  sum(dims?: readonly number[], keepDim = false): Tensor {
    return dims ? this.#op('sum.dim_IntList', dims, keepDim) : this.#op('sum');
  }
  mean(dims?: readonly number[], keepDim = false): Tensor {
    return dims ? this.#op('mean.dim', dims, keepDim) : this.#op('mean');
  }
  max(): Tensor {
    return this.#op('max');
  }
  min(): Tensor {
    return this.#op('min');
  }
  argmax(dim: number, keepDim = false): Tensor {
    return this.#op('argmax', dim, keepDim);
  }
  cumsum(dim: number): Tensor {
    return this.#op('cumsum', dim);
  }
  /** The k largest along the last dimension: [values, indices], both sorted downwards. */
  topk(k: number): [Tensor, Tensor] {
    return callOperator('aten::topk', this, k) as [Tensor, Tensor];
  }
  /** [sorted values, indices] along `dim`. */
  sort(dim: number, descending = false): [Tensor, Tensor] {
    return callOperator('aten::sort', this, dim, descending) as [Tensor, Tensor];
  }

  // Shape. All but `contiguous`, `clone` and indexing give views where libtorch does.
  reshape(...shape: number[]): Tensor {
    return this.#op('reshape', shape);
  }
  transpose(first: number, second: number): Tensor {
    return this.#op('transpose.int', first, second);
  }
  permute(...dims: number[]): Tensor {
    return this.#op('permute', dims);
  }
  unsqueeze(dim: number): Tensor {
    return this.#op('unsqueeze', dim);
  }
  squeeze(dim: number): Tensor {
    return this.#op('squeeze.dim', dim);
  }
  expand(...shape: number[]): Tensor {
    return this.#op('expand', shape);
  }
  narrow(dim: number, start: number, length: number): Tensor {
    return this.#op('narrow', dim, start, length);
  }
  select(dim: number, index: number): Tensor {
    return this.#op('select.int', dim, index);
  }
  /** Parts of `size` along `dim`; the last may be smaller. */
  split(size: number, dim: number): Tensor[] {
    return callOperator('aten::split.Tensor', this, size, dim) as Tensor[];
  }
  indexSelect(dim: number, index: Tensor): Tensor {
    return this.#op('index_select', dim, index);
  }
  gather(dim: number, index: Tensor): Tensor {
    return this.#op('gather', dim, index);
  }
  contiguous(): Tensor {
    return this.#op('contiguous');
  }
  clone(): Tensor {
    return this.#op('clone');
  }
  /** The same storage, outside the autograd graph. */
  detach(): Tensor {
    return this.#op('detach');
  }
  /** Converted to `dtype`; the tensor itself (a new handle on it) when it has that dtype already. */
  to(dtype: DType): Tensor {
    return this.#op('to.dtype', dtype);
  }

  // In place; they return this tensor.
  copy_(source: Tensor): this {
    return this.#inPlace('copy_', source);
  }
  zero_(): this {
    return this.#inPlace('zero_');
  }
  fill_(value: number): this {
    return this.#inPlace('fill_.Scalar', value);
  }
  add_(other: Tensor | number, alpha = 1): this {
    return this.#inPlace(other instanceof Tensor ? 'add_.Tensor' : 'add_.Scalar', other, alpha);
  }
  mul_(other: Tensor | number): this {
    return this.#inPlace(other instanceof Tensor ? 'mul_.Tensor' : 'mul_.Scalar', other);
  }

  #op(name: string, ...rest: OperatorArgument[]): Tensor {
    this.#alive();
    return callOperator(`aten::${name}`, this, ...rest) as Tensor;
  }

  #binary(name: string, other: Tensor | number): Tensor {
    this.#alive();
    return callOperator(
      `aten::${name}.${other instanceof Tensor ? 'Tensor' : 'Scalar'}`,
      this,
      other,
    ) as Tensor;
  }

  #inPlace(name: string, ...rest: OperatorArgument[]): this {
    this.#alive();
    (callOperator(`aten::${name}`, this, ...rest) as Tensor).dispose(); // a second handle on this tensor
    return this;
  }
}

/** What may be passed to an operator, in the order of its schema; trailing arguments may be left out. */
export type OperatorArgument =
  | Tensor
  | NativeObject<GeneratorHandle>
  | number
  | bigint
  | boolean
  | string
  | undefined
  | null
  | readonly OperatorArgument[];

/** What an operator gives back. */
export type OperatorResult = Tensor | number | boolean | string | undefined | OperatorResult[];

const indexes = new Map<string, number>();

/**
 * Calls `name` ("aten::add.Tensor", "openplug::dropout") with arguments in schema order.
 * @throws NativeError when there is no such operator, an argument is of the wrong kind, or libtorch refuses.
 */
export function callOperator(name: string, ...operands: OperatorArgument[]): OperatorResult {
  let index = indexes.get(name);
  if (index === undefined) {
    index = native.resolve(name);
    indexes.set(name, index);
  }
  const values = operands as NativeValue[];
  for (let i = 0; i < operands.length; i++) values[i] = unwrap(operands[i]);
  return wrap(native.call(index, ...values));
}

function unwrap(operand: OperatorArgument): NativeValue {
  if (operand instanceof NativeObject) return operand.handle;
  if (Array.isArray(operand)) return operand.map(unwrap);
  return operand as NativeValue;
}

function wrap(value: NativeValue): OperatorResult {
  if (typeof value !== 'object' || value === null) return value as OperatorResult;
  if (Array.isArray(value)) return value.map(wrap);
  return new Tensor(value as TensorHandle);
}
