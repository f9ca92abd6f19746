// Writes files of torch.save (zip format, pickle protocol 2): a dict with a state dict of row-major tensors in it. The
// pickle names all tensors in front of the first one's data, so that data streams. Objects are memoised as Python's
// pickler does, which makes files equal those of torch 1.13 byte by byte.
import { bytesPerElement, type DType } from '@openplug/torch';
import { CheckpointError } from '../../errors.js';
import { opcode } from './opcodes.js';
import { type Sink, ZipWriter } from './zip-writer.js';

/** A tensor that will be written. */
export interface TensorPlan {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** The storage classes that are written. */
const storageClass: Record<DType, string> = {
  float32: 'FloatStorage',
  float64: 'DoubleStorage',
  float16: 'HalfStorage',
  bfloat16: 'BFloat16Storage',
  int64: 'LongStorage',
  int32: 'IntStorage',
  int16: 'ShortStorage',
  int8: 'CharStorage',
  uint8: 'ByteStorage',
  bool: 'BoolStorage',
};

/** Bytes of a planned tensor. */
export function plannedBytes({ dtype, shape }: TensorPlan): number {
  return shape.reduce((product, size) => product * size, 1) * bytesPerElement[dtype];
}

/**
 * The order in which a plan's tensors stand in the file: torch sorts storages by their number as a text, so that the
 * eleventh follows the second.
 */
export function storageOrder<Item>(plan: readonly Item[]): Item[] {
  const numbers = plan.map((_, index) => `${index}`).sort();
  return numbers.map((number) => plan[Number(number)]!);
}

/**
 * One file: `{key: {name: tensor, …}, …extra}`. Tensors are handed over in `storageOrder` of the plan.
 * @param name of the folder within the zip; torch takes the file's name without extension
 */
export class TorchWriter {
  readonly #zip: ZipWriter;
  readonly #name: string;
  readonly #left: { index: number; plan: TensorPlan }[];
  #next = 0;

  constructor(
    sink: Sink,
    name: string,
    key: string,
    plan: readonly TensorPlan[],
    extra: Readonly<Record<string, number>> = {},
  ) {
    this.#zip = new ZipWriter(sink);
    this.#name = name;
    this.#left = storageOrder(plan.map((tensor, index) => ({ index, plan: tensor })));
    const pickle = statePickle(key, plan, extra);
    this.#zip.entry(`${name}/data.pkl`, pickle.length, (write) => write(pickle));
  }

  /** The next tensor, in pieces. @throws CheckpointError when all were written */
  tensor(write: (sink: Sink) => void): void {
    const next = this.#left[this.#next];
    if (!next) throw new CheckpointError(`${this.#name}: all ${this.#next} tensors are written already.`);
    this.#zip.entry(`${this.#name}/data/${next.index}`, plannedBytes(next.plan), write);
    this.#next += 1;
  }

  /** @throws CheckpointError when tensors are missing */
  finish(): void {
    const missing = this.#left[this.#next];
    if (missing)
      throw new CheckpointError(
        `${this.#name}: ${this.#next} of ${this.#left.length} tensors are written, "${missing.plan.name}" is next.`,
      );
    this.#zip.entry(`${this.#name}/version`, 2, (write) => write(Buffer.from('3\n')));
    this.#zip.finish();
  }
}

/** The pickle of a state dict under `key`, with whole numbers beside it. */
export function statePickle(
  key: string,
  plan: readonly TensorPlan[],
  extra: Readonly<Record<string, number>> = {},
): Uint8Array {
  const writer = new PickleWriter();
  writer.op(opcode.PROTO, 2);
  writer.op(opcode.EMPTY_DICT);
  writer.memoize();
  writer.op(opcode.MARK);
  writer.text(key);
  writer.op(opcode.EMPTY_DICT);
  writer.memoize();
  writer.items([...plan.entries()], ([index, { name, dtype, shape }]) => {
    writer.text(name);
    writer.tensor(`${index}`, dtype, shape);
  });
  for (const [name, value] of Object.entries(extra)) {
    writer.text(name);
    writer.integer(value);
  }
  writer.op(opcode.SETITEMS);
  writer.op(opcode.STOP);
  return writer.bytes();
}

/** Python's pickler sets at most so many items at a time. */
const batch = 1000;

class PickleWriter {
  readonly #parts: Uint8Array[] = [];
  /** Places of values that Python would recognise as the same object. */
  readonly #places = new Map<string, number>();
  #memoSize = 0;

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }

  op(...bytes: number[]): void {
    this.#parts.push(Uint8Array.from(bytes));
  }

  memoize(name?: string): void {
    const place = this.#memoSize++;
    if (name !== undefined) this.#places.set(name, place);
    this.#withNumber(place, [opcode.BINPUT, undefined, opcode.LONG_BINPUT]);
  }

  /** Dict items in batches; a batch of one is set by itself. */
  items<Item>(items: readonly Item[], write: (item: Item) => void): void {
    for (let start = 0; start < items.length; start += batch) {
      const part = items.slice(start, start + batch);
      if (part.length > 1) this.op(opcode.MARK);
      for (const item of part) write(item);
      this.op(part.length > 1 ? opcode.SETITEMS : opcode.SETITEM);
    }
  }

  text(value: string): void {
    const bytes = Buffer.from(value, 'utf8');
    const head = Buffer.alloc(5, opcode.BINUNICODE);
    head.writeUInt32LE(bytes.length, 1);
    this.#parts.push(head, bytes);
    this.memoize();
  }

  /** @param value a natural number; past 2^31 it takes more bytes */
  integer(value: number): void {
    if (value < 2 ** 31) this.#withNumber(value, [opcode.BININT1, opcode.BININT2, opcode.BININT]);
    else {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(value));
      let length = 8;
      while (bytes[length - 1] === 0 && bytes[length - 2]! < 128) length -= 1; // the sign needs a bit
      this.op(opcode.LONG1, length);
      this.#parts.push(bytes.subarray(0, length));
    }
  }

  /** A row-major tensor over the whole storage `key`. */
  tensor(key: string, dtype: DType, shape: readonly number[]): void {
    const strides = shape.map((_, index) =>
      shape.slice(index + 1).reduce((product, size) => product * size, 1),
    );
    this.#global('torch._utils', '_rebuild_tensor_v2');
    this.op(opcode.MARK);
    this.op(opcode.MARK);
    this.#shared('storage');
    this.#global('torch', storageClass[dtype]);
    this.text(key);
    this.#shared('cpu');
    this.integer(shape.reduce((product, size) => product * size, 1));
    this.op(opcode.TUPLE);
    this.memoize();
    this.op(opcode.BINPERSID);
    this.integer(0);
    this.#tuple(shape);
    this.#tuple(strides);
    this.op(opcode.NEWFALSE);
    this.#global('collections', 'OrderedDict');
    this.op(opcode.EMPTY_TUPLE, opcode.REDUCE);
    this.memoize();
    this.op(opcode.TUPLE);
    this.memoize();
    this.op(opcode.REDUCE);
    this.memoize();
  }

  #tuple(values: readonly number[]): void {
    if (values.length === 0) {
      this.op(opcode.EMPTY_TUPLE);
      return;
    }
    if (values.length > 3) this.op(opcode.MARK);
    for (const value of values) this.integer(value);
    this.op(values.length > 3 ? opcode.TUPLE : opcode.TUPLE1 + values.length - 1);
    this.memoize();
  }

  #shared(text: string): void {
    if (!this.#recalled(`text ${text}`)) {
      this.text(text);
      this.#places.set(`text ${text}`, this.#memoSize - 1);
    }
  }

  #global(module: string, name: string): void {
    const full = `global ${module} ${name}`;
    if (this.#recalled(full)) return;
    this.#parts.push(Buffer.from(`c${module}\n${name}\n`, 'latin1'));
    this.memoize(full);
  }

  #recalled(name: string): boolean {
    const place = this.#places.get(name);
    if (place === undefined) return false;
    this.#withNumber(place, [opcode.BINGET, undefined, opcode.LONG_BINGET]);
    return true;
  }

  /** An opcode with its operand in 1, 2 or 4 bytes, whichever is the least. */
  #withNumber(value: number, [one, two, four]: readonly [number, number | undefined, number]): void {
    if (value < 256) this.op(one, value);
    else if (two !== undefined && value < 65536) this.op(two, value & 255, value >>> 8);
    else this.op(four, value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);
  }
}
