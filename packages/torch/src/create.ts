// Making tensors from JavaScript data, from nothing, and from other tensors.
import { constants } from 'node:buffer';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { NativeError, ShapeError } from './errors.js';
import { type DType, native } from './native.js';
import { callOperator, Tensor } from './tensor.js';

/** Typed arrays with a dtype of their own. A Uint16Array holds the bits of float16 or bfloat16 numbers. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint16Array;

export interface TensorOptions {
  /** Default: the typed array's own type; float32 for numbers. */
  dtype?: DType;
  /** Default: one dimension. */
  shape?: readonly number[];
  /**
   * Use the typed array's memory instead of copying it, where its address suits the dtype. Default false. The array
   * must not be transferred to another thread meanwhile.
   */
  share?: boolean;
  /** Whether `backward` computes its gradient. Default false. */
  requiresGrad?: boolean;
}

const nativeDType = new Map<string, DType>([
  ['Float32Array', 'float32'],
  ['Float64Array', 'float64'],
  ['BigInt64Array', 'int64'],
  ['Int32Array', 'int32'],
  ['Int16Array', 'int16'],
  ['Int8Array', 'int8'],
  ['Uint8Array', 'uint8'],
]);

/**
 * A tensor of the given elements. Bytes (Uint8Array) and 16-bit words (Uint16Array) may be read as any dtype of
 * that width by naming it; otherwise elements are converted to `dtype`.
 * @throws ShapeError when the shape does not hold exactly the data.
 */
export function tensor(data: TypedArray | readonly number[], options: TensorOptions = {}): Tensor {
  const array = Array.isArray(data) ? Float64Array.from(data) : (data as TypedArray);
  const wanted = options.dtype ?? (Array.isArray(data) ? 'float32' : ownDType(array));
  const stored = wanted && storedDType(array, wanted);
  if (!stored) throw new ShapeError(`A ${array.constructor.name} has no dtype of its own: pass { dtype }.`);
  const count = array.byteLength / bytesPerElement[stored];
  const shape = options.shape ?? [count];
  const expected = shape.reduce((product, size) => product * size, 1);
  if (expected !== count || !shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw new ShapeError(`Shape [${shape}] holds ${expected} elements, the data has ${count} of ${wanted}.`);
  let result = new Tensor(native.fromBytes(array, stored, shape, options.share ?? false));
  if (stored !== wanted) {
    using source = result;
    result = source.to(wanted);
  }
  if (options.requiresGrad) result.requiresGrad = true;
  return result;
}

/** Bytes of one element. */
export const bytesPerElement: Record<DType, number> = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
};

/** The dtype of the same name; subclasses (Buffer) count as what they extend. */
function ownDType(array: TypedArray): DType | undefined {
  return nativeDType.get(Object.prototype.toString.call(array).slice('[object '.length, -1));
}

function storedDType(array: TypedArray, wanted: DType): DType | undefined {
  if (array instanceof Uint8Array) return wanted; // raw bytes: read as they are
  if (array instanceof Uint16Array) {
    if (bytesPerElement[wanted] === 2) return wanted;
    throw new ShapeError(`A Uint16Array holds 16-bit words; it cannot be read as ${wanted}.`);
  }
  return ownDType(array);
}

const make = (name: string, shape: readonly number[], dtype: DType): Tensor =>
  callOperator(`aten::${name}`, shape, dtype) as Tensor;

/** All zeros. dtype defaults to float32. */
export function zeros(shape: readonly number[], dtype: DType = 'float32'): Tensor {
  return make('zeros', shape, dtype);
}

/** All ones. dtype defaults to float32. */
export function ones(shape: readonly number[], dtype: DType = 'float32'): Tensor {
  return make('ones', shape, dtype);
}

/** Whatever is in the memory. dtype defaults to float32. */
export function empty(shape: readonly number[], dtype: DType = 'float32'): Tensor {
  return make('empty.memory_format', shape, dtype);
}

/** `value` everywhere. dtype defaults to float32. */
export function full(shape: readonly number[], value: number, dtype: DType = 'float32'): Tensor {
  return callOperator('aten::full', shape, value, dtype) as Tensor;
}

/** 0, 1, …, end − 1. dtype defaults to int64. */
export function arange(end: number, dtype: DType = 'int64'): Tensor {
  return callOperator('aten::arange', end, dtype) as Tensor;
}

/** Joined along an existing dimension. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  return callOperator('aten::cat', tensors, dim) as Tensor;
}

/** Joined along a new dimension. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return callOperator('aten::stack', tensors, dim) as Tensor;
}

/**
 * A file's bytes, mapped into memory: pages are read when touched and shared with the page cache. The file must
 * not shrink while it is mapped.
 * @throws NativeError naming the path when it cannot be opened, or has 4 GiB or more (map it in parts)
 */
export function mapFile(path: string): Uint8Array {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    return mapFileRange(file, 0, fstatSync(file).size);
  } catch (error) {
    throw new NativeError(`mapFile ${path}: ${(error as Error).message}`, { cause: error });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/**
 * `length` bytes of an open file from `offset` on, mapped as `mapFile` does. The mapping outlives the open file.
 * @throws NativeError when they are not all in the file, or are more than JavaScript can address at once (4 GiB)
 */
export function mapFileRange(file: number, offset: number, length: number): Uint8Array {
  if (length > maxMappedBytes)
    throw new NativeError(
      `${length} bytes were to be mapped at once; this JavaScript runtime addresses ${maxMappedBytes}.`,
    );
  try {
    const [mapping, skipped] = native.mapFile(file, offset, length);
    return new Uint8Array(mapping, skipped);
  } catch (error) {
    // Some JavaScript runtimes forbid memory that they do not own: read the file instead.
    if (!(error instanceof NativeError && error.message.includes('external buffers'))) throw error;
    const bytes = new Uint8Array(length);
    for (let read = 0; read < length; ) {
      const count = readSync(file, bytes, read, length - read, offset + read);
      if (count === 0) throw new NativeError(`The file ended ${length - read} bytes early.`);
      read += count;
    }
    return bytes;
  }
}

/** Of one mapping; a page is left for where it begins. */
const maxMappedBytes = constants.MAX_LENGTH - 65536;
