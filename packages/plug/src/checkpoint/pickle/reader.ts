// A reader of pickles that only builds data: Python's stack machine with the opcodes that state dicts need. It
// imports nothing and calls nothing but the handful of constructors in globals.ts. What hostile input could make
// large (stack, memo, containers, copies, numbers) is bounded, and nothing recurses.
// Source of the format: CPython's Lib/pickletools.py.
import { CheckpointError } from '../../errors.js';
import { type CallContext, callGlobal, globalNamed, storageOf } from './globals.js';
import { opcode, opcodeName } from './opcodes.js';
import {
  InertObject,
  KnownGlobal,
  kindOf,
  PickleTuple,
  type PickleValue,
  StorageReference,
  shown,
  TensorView,
} from './values.js';

/** Bounds of one pickle. A checkpoint of a thousand tensors needs some 20,000 steps and 10,000 containers. */
const limits = {
  /** Opcodes run plus elements copied. */
  steps: 4_000_000,
  containers: 400_000,
  stack: 1_000_000,
  memo: 1_000_000,
  /** Bytes of an integer; random generators' states are the largest seen. */
  integerBytes: 1024,
  /** Characters of a global's module or name. */
  globalLength: 1000,
} as const;

const highestProtocol = 5;

/** Where to read. */
export interface PickleInput {
  readonly bytes: Uint8Array;
  /** Default 0. */
  readonly start?: number;
  /** File and part of it, for errors. */
  readonly where: string;
  /** Added to positions in errors: where in the file `bytes` begins. Default 0. */
  readonly base?: number;
}

/** One pickle that was read. */
export interface ReadPickle {
  readonly value: PickleValue;
  /** Position behind it. */
  readonly end: number;
  /** Every storage that it refers to, by key, those of dropped objects included. */
  readonly storages: ReadonlyMap<string, StorageReference>;
}

/**
 * Reads one pickle.
 * @throws CheckpointError naming the opcode or global that is refused and its byte
 */
export function readPickle(input: PickleInput): ReadPickle {
  return new PickleMachine(input).run();
}

const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class PickleMachine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #where: string;
  readonly #base: number;
  #position: number;
  /** Start of the opcode that is being run. */
  #opcodeAt = 0;
  #code = 0;
  readonly #stack: PickleValue[] = [];
  /** Heights of the stack at each mark. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();
  readonly #storages = new Map<string, StorageReference>();
  #steps = 0;
  #containers = 0;
  readonly #context: CallContext;

  constructor({ bytes, start = 0, where, base = 0 }: PickleInput) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
    this.#base = base;
    this.#position = start;
    const machine = this;
    this.#context = {
      get position() {
        return machine.#base + machine.#opcodeAt;
      },
      refuse: (problem) => machine.#refuse(problem),
      spend: (elements) => machine.#spend(elements),
    };
  }

  run(): ReadPickle {
    for (;;) {
      this.#opcodeAt = this.#position;
      this.#code = this.#byte();
      this.#spend(1);
      if (this.#code === opcode.STOP) break;
      this.#step(this.#code);
    }
    const value = this.#pop();
    if (this.#stack.length > 0 || this.#marks.length > 0)
      this.#refuse(`${this.#stack.length} values are left over at the end`);
    return { value, end: this.#position, storages: this.#storages };
  }

  #refuse(problem: string): never {
    throw new CheckpointError(
      `${this.#where}: ${problem} (opcode ${opcodeName(this.#code)} at byte ${this.#base + this.#opcodeAt}).`,
    );
  }

  #spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > limits.steps) this.#refuse(`this pickle takes more than ${limits.steps} steps to read`);
  }

  #step(code: number): void {
    const value = this.#made(code);
    if (value === undefined) this.#act(code);
    else this.#push(value);
  }

  /** The value that an opcode puts on the stack; undefined for opcodes that do something else. */
  #made(code: number): PickleValue | undefined {
    switch (code) {
      case opcode.NONE:
        return null;
      case opcode.NEWTRUE:
        return true;
      case opcode.NEWFALSE:
        return false;
      case opcode.BININT:
        return this.#view.getInt32(this.#take(4), true);
      case opcode.BININT1:
        return this.#byte();
      case opcode.BININT2:
        return this.#view.getUint16(this.#take(2), true);
      case opcode.BINFLOAT:
        return this.#view.getFloat64(this.#take(8), false);
      case opcode.LONG1:
        return this.#integer(this.#byte());
      case opcode.LONG4:
        return this.#integer(this.#length(4));
      case opcode.INT:
      case opcode.LONG:
        return this.#decimal(code);
      case opcode.FLOAT:
        return this.#decimalFraction();

      case opcode.SHORT_BINUNICODE:
        return this.#text(this.#byte());
      case opcode.BINUNICODE:
        return this.#text(this.#length(4));
      case opcode.BINUNICODE8:
        return this.#text(this.#length(8));
      case opcode.UNICODE:
        return unescapeUnicode(this.#line());
      case opcode.STRING:
        return this.#quotedText();
      case opcode.SHORT_BINSTRING:
        return this.#python2Text(this.#byte());
      case opcode.BINSTRING:
        return this.#python2Text(this.#length(4));
      case opcode.SHORT_BINBYTES:
        return this.#copiedBytes(this.#byte());
      case opcode.BINBYTES:
        return this.#copiedBytes(this.#length(4));
      case opcode.BINBYTES8:
      case opcode.BYTEARRAY8:
        return this.#copiedBytes(this.#length(8));

      case opcode.EMPTY_LIST:
        return this.#container([]);
      case opcode.EMPTY_DICT:
        return this.#container(new Map());
      case opcode.EMPTY_SET:
        return this.#container(new Set());
      case opcode.EMPTY_TUPLE:
        return this.#container(new PickleTuple([]));
      case opcode.LIST:
        return this.#container(this.#popMarked());
      case opcode.TUPLE:
        return this.#container(new PickleTuple(this.#popMarked()));
      case opcode.TUPLE1:
      case opcode.TUPLE2:
      case opcode.TUPLE3:
        return this.#container(new PickleTuple(this.#popCount(code - opcode.TUPLE1 + 1)));
      case opcode.FROZENSET:
        return this.#container(new Set(this.#popMarked()));
      case opcode.DICT: {
        const dict = this.#container(new Map<PickleValue, PickleValue>());
        this.#setItems(dict, this.#popMarked());
        return dict;
      }

      case opcode.DUP:
        return this.#top();
      case opcode.BINGET:
        return this.#recalled(this.#byte());
      case opcode.LONG_BINGET:
        return this.#recalled(this.#view.getUint32(this.#take(4), true));
      case opcode.GET:
        return this.#recalled(this.#memoKey());

      case opcode.GLOBAL:
        return this.#global(this.#line(), this.#line());
      case opcode.STACK_GLOBAL: {
        const [module, name] = this.#popCount(2);
        if (typeof module !== 'string' || typeof name !== 'string')
          this.#refuse('a global is named by something else than text');
        return this.#global(module, name);
      }
      case opcode.REDUCE:
      case opcode.NEWOBJ: {
        const [target, args] = this.#popCount(2);
        return this.#container(callGlobal(target!, args!, this.#context));
      }
      case opcode.NEWOBJ_EX: {
        const [target] = this.#popCount(3);
        if (!(target instanceof InertObject))
          this.#refuse(`${kindOf(target)} is called with named arguments`);
        return target;
      }
      case opcode.BINPERSID:
        return this.#storage(storageOf(this.#pop(), this.#context.refuse));
      default:
        return undefined;
    }
  }

  /** Opcodes that change what is there. */
  #act(code: number): void {
    switch (code) {
      case opcode.PROTO: {
        const protocol = this.#byte();
        if (protocol > highestProtocol)
          this.#refuse(`pickle protocol ${protocol} is not known, at most ${highestProtocol} is`);
        break;
      }
      case opcode.FRAME: // only says how much follows
        this.#length(8);
        break;
      case opcode.MARK:
        if (this.#marks.length >= limits.stack) this.#refuse(`more than ${limits.stack} marks are open`);
        this.#marks.push(this.#stack.length);
        break;
      case opcode.POP:
        if (this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
        else this.#pop();
        break;
      case opcode.POP_MARK:
        this.#stack.length = this.#unmark();
        break;
      case opcode.APPEND:
        this.#append([this.#pop()]);
        break;
      case opcode.APPENDS:
        this.#append(this.#popMarked());
        break;
      case opcode.ADDITEMS:
        this.#addItems(this.#popMarked());
        break;
      case opcode.SETITEM:
        this.#setItems(undefined, this.#popCount(2));
        break;
      case opcode.SETITEMS:
        this.#setItems(undefined, this.#popMarked());
        break;
      case opcode.BINPUT:
        this.#memoize(this.#byte());
        break;
      case opcode.LONG_BINPUT:
        this.#memoize(this.#view.getUint32(this.#take(4), true));
        break;
      case opcode.PUT:
        this.#memoize(this.#memoKey());
        break;
      case opcode.MEMOIZE:
        this.#memoize(this.#memo.size);
        break;
      case opcode.BUILD:
        this.#build();
        break;
      default:
        this.#refuse(
          opcodeName(code).startsWith('0x')
            ? 'this is no opcode of a pickle'
            : 'this opcode is not needed for checkpoints and is refused',
        );
    }
  }

  // Input.

  /** Moves past `count` bytes and gives where they start. */
  #take(count: number): number {
    const start = this.#position;
    if (count > this.#bytes.length - start)
      this.#refuse(
        start >= this.#bytes.length
          ? 'the pickle ends in the middle: the file is truncated or damaged'
          : `${count} bytes are announced, only ${this.#bytes.length - start} follow`,
      );
    this.#position = start + count;
    return start;
  }

  #byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  /** A length of 4 or 8 bytes, which must lie within the pickle. */
  #length(width: 4 | 8): number {
    const start = this.#take(width);
    const length =
      width === 4 ? this.#view.getUint32(start, true) : Number(this.#view.getBigUint64(start, true));
    const left = this.#bytes.length - this.#position;
    if (length > left) this.#refuse(`${length} bytes are announced, only ${left} follow`);
    return length;
  }

  #text(length: number): string {
    const start = this.#take(length);
    try {
      return strictText.decode(this.#bytes.subarray(start, start + length));
    } catch {
      return this.#refuse('a text is not valid UTF-8');
    }
  }

  /** Python 2 did not tell text from bytes. */
  #python2Text(length: number): PickleValue {
    const start = this.#take(length);
    const bytes = this.#bytes.subarray(start, start + length);
    try {
      return strictText.decode(bytes);
    } catch {
      return bytes.slice();
    }
  }

  #copiedBytes(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.slice(start, start + length);
  }

  /** The rest of the line, as Latin-1. */
  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#position);
    if (end < 0) this.#refuse('a line does not end: the file is truncated or damaged');
    const start = this.#take(end + 1 - this.#position);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, end - start).toString('latin1');
  }

  /** Little-endian two's complement. */
  #integer(length: number): number | bigint {
    if (length > limits.integerBytes) this.#refuse(`an integer of ${length} bytes is too long`);
    const start = this.#take(length);
    if (length === 0) return 0;
    const hex = Buffer.from(this.#bytes.subarray(start, start + length))
      .reverse()
      .toString('hex');
    return narrow(BigInt.asIntN(length * 8, BigInt(`0x${hex}`)));
  }

  #decimal(code: number): PickleValue {
    const line = this.#line();
    if (code === opcode.INT && (line === '00' || line === '01')) return line === '01';
    if (line.length > 2 * limits.integerBytes || !/^-?\d+L?$/.test(line))
      this.#refuse(`${shown(line)} is not an integer`);
    return narrow(BigInt(line.replace('L', '')));
  }

  #decimalFraction(): number {
    const line = this.#line();
    const special = { inf: Infinity, '-inf': -Infinity, nan: NaN }[line];
    if (special !== undefined) return special;
    if (line.length > 400 || !/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(line))
      this.#refuse(`${shown(line)} is not a number`);
    return Number(line);
  }

  /** A text in quotes, as Python 2 wrote it. */
  #quotedText(): string {
    const match = /^(['"])(.*)\1$/s.exec(this.#line());
    if (!match) this.#refuse('a text is not in quotes');
    return unescapeString(match[2]!);
  }

  #memoKey(): number {
    const line = this.#line();
    if (!/^\d{1,9}$/.test(line)) this.#refuse(`${shown(line)} is not a place in the memo`);
    return Number(line);
  }

  // Stack and memo.

  #push(value: PickleValue): void {
    if (this.#stack.length >= limits.stack) this.#refuse(`more than ${limits.stack} values are on the stack`);
    this.#stack.push(value);
  }

  #container<T extends PickleValue>(value: T): T {
    this.#containers += 1;
    if (this.#containers > limits.containers)
      this.#refuse(`this pickle makes more than ${limits.containers} lists, tuples and dicts`);
    return value;
  }

  /** Height below which the values belong to an outer mark. */
  #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }

  #pop(): PickleValue {
    if (this.#stack.length <= this.#floor()) this.#refuse('a value is missing on the stack');
    return this.#stack.pop()!;
  }

  #top(): PickleValue {
    if (this.#stack.length <= this.#floor()) this.#refuse('a value is missing on the stack');
    return this.#stack[this.#stack.length - 1]!;
  }

  #popCount(count: number): PickleValue[] {
    if (this.#stack.length - count < this.#floor()) this.#refuse('a value is missing on the stack');
    return this.#stack.splice(this.#stack.length - count);
  }

  #unmark(): number {
    const height = this.#marks.pop();
    if (height === undefined) return this.#refuse('there is no mark');
    return height;
  }

  #popMarked(): PickleValue[] {
    return this.#stack.splice(this.#unmark());
  }

  #memoize(key: number): void {
    const value = this.#top();
    if (this.#memo.size >= limits.memo) this.#refuse(`more than ${limits.memo} values are memoised`);
    this.#memo.set(key, value);
  }

  #recalled(key: number): PickleValue {
    const value = this.#memo.get(key);
    if (value === undefined) return this.#refuse(`nothing is at place ${key} of the memo`);
    return value;
  }

  // Objects.

  #append(items: readonly PickleValue[]): void {
    const list = this.#top();
    if (list instanceof InertObject) return; // of a class derived from list
    if (!Array.isArray(list)) this.#refuse(`items are appended to ${kindOf(list)}`);
    for (const item of items) list.push(item);
  }

  #addItems(items: readonly PickleValue[]): void {
    const set = this.#top();
    if (set instanceof InertObject) return; // of a class derived from set
    if (!(set instanceof Set)) this.#refuse(`items are added to ${kindOf(set)}`);
    for (const item of items) set.add(item);
  }

  /** Sets keys and values in turns in `dict`, or else in the value on top of the stack. */
  #setItems(dict: Map<PickleValue, PickleValue> | undefined, items: readonly PickleValue[]): void {
    const target = dict ?? this.#top();
    if (items.length % 2 !== 0) this.#refuse('a key has no value');
    if (target instanceof InertObject) return; // of a class derived from dict
    if (!(target instanceof Map)) this.#refuse(`items are set in ${kindOf(target)}`);
    for (let index = 0; index < items.length; index += 2) {
      const key = items[index]!;
      if (Array.isArray(key) || key instanceof Map || key instanceof Set)
        this.#refuse(`a key is ${kindOf(key)}`);
      target.set(key, items[index + 1]!);
    }
  }

  #global(module: string, name: string): PickleValue {
    if (module.length > limits.globalLength || name.length > limits.globalLength)
      this.#refuse('the name of a global is too long');
    const position = this.#base + this.#opcodeAt;
    return globalNamed(module, name, position, this.#context.refuse);
  }

  /** One storage has one size and dtype wherever it is referred to. */
  #storage(storage: PickleValue): PickleValue {
    if (!(storage instanceof StorageReference)) return storage;
    const known = this.#storages.get(storage.key);
    if (!known) this.#storages.set(storage.key, storage);
    else if (known.dtype !== storage.dtype || known.numel !== storage.numel)
      this.#refuse(
        `storage ${shown(storage.key)} is ${storage.numel} of ${storage.dtype} here and ${known.numel} of ` +
          `${known.dtype} elsewhere`,
      );
    return known ?? storage;
  }

  /** Attributes set on an object: dropped, as none matters to a tensor (a state dict has `_metadata`). */
  #build(): void {
    this.#pop();
    const target = this.#top();
    if (target instanceof InertObject || target instanceof Map || target instanceof TensorView) return;
    if (target instanceof KnownGlobal) this.#refuse(`attributes of the global ${target.name} are changed`);
    this.#refuse(`attributes are set on ${kindOf(target)}`);
  }
}

/** A number where it is exact. */
function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function unescapeUnicode(line: string): string {
  return line.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (whole, short, long) => {
    const point = Number.parseInt(short ?? long, 16);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}

const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', '0': '\0' };

function unescapeString(text: string): string {
  return text.replace(/\\(x[0-9a-fA-F]{2}|.)/gs, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (escapes[code] ?? code),
  );
}
