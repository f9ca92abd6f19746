// A reader of pickles that only builds data: Python's stack machine with the opcodes that state dicts need. It
// imports nothing and calls nothing but the handful of constructors in globals.ts. What hostile input could make
// large (stack, memo, containers, copies, numbers) is bounded, and nothing recurses.
// Source of the format: CPython's Lib/pickletools.py.
import { CheckpointError } from '../../errors.js';
import { addTo, appendTo, setAttributes, setIn } from './changes.js';
import { type CallContext, callGlobal, globalNamed, type Refuse, storageOf } from './globals.js';
import { opcode, opcodeName } from './opcodes.js';
import { Operands } from './operands.js';
import { PickleStack } from './stack.js';
import { InertObject, kindOf, PickleTuple, type PickleValue, StorageReference, shown } from './values.js';

/** Bounds of one pickle. A checkpoint of a thousand tensors needs some 20,000 steps and 10,000 containers. */
const limits = {
  /** Opcodes run plus elements copied. */
  steps: 4_000_000,
  containers: 400_000,
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

class PickleMachine {
  readonly #where: string;
  readonly #base: number;
  readonly #operands: Operands;
  readonly #stack: PickleStack;
  readonly #storages = new Map<string, StorageReference>();
  readonly #context: CallContext;
  /** Start of the opcode that is being run. */
  #opcodeAt: number;
  #code = 0;
  #steps = 0;
  #containers = 0;

  constructor({ bytes, start = 0, where, base = 0 }: PickleInput) {
    this.#where = where;
    this.#base = base;
    this.#opcodeAt = start;
    const machine = this;
    const refuse: Refuse = (problem) => this.#refuse(problem);
    this.#operands = new Operands(bytes, start, refuse);
    this.#stack = new PickleStack(refuse);
    this.#context = {
      get position() {
        return machine.#base + machine.#opcodeAt;
      },
      refuse,
      spend: (elements) => this.#spend(elements),
    };
  }

  run(): ReadPickle {
    for (;;) {
      this.#opcodeAt = this.#operands.position;
      this.#code = this.#operands.byte();
      this.#spend(1);
      if (this.#code === opcode.STOP) break;
      this.#step(this.#code);
    }
    return { value: this.#stack.last(), end: this.#operands.position, storages: this.#storages };
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
    else this.#stack.push(value);
  }

  /** The value that an opcode puts on the stack; undefined for opcodes that do something else. */
  #made(code: number): PickleValue | undefined {
    const operands = this.#operands;
    const stack = this.#stack;
    switch (code) {
      case opcode.NONE:
        return null;
      case opcode.NEWTRUE:
        return true;
      case opcode.NEWFALSE:
        return false;
      case opcode.BININT:
        return operands.int32();
      case opcode.BININT1:
        return operands.byte();
      case opcode.BININT2:
        return operands.uint16();
      case opcode.BINFLOAT:
        return operands.float64();
      case opcode.LONG1:
        return operands.integer(operands.byte());
      case opcode.LONG4:
        return operands.integer(operands.length(4));
      case opcode.INT:
      case opcode.LONG:
        return operands.decimal(code === opcode.INT);
      case opcode.FLOAT:
        return operands.decimalFraction();

      case opcode.SHORT_BINUNICODE:
        return operands.text(operands.byte());
      case opcode.BINUNICODE:
        return operands.text(operands.length(4));
      case opcode.BINUNICODE8:
        return operands.text(operands.length(8));
      case opcode.UNICODE:
        return operands.escapedText();
      case opcode.STRING:
        return operands.quotedText();
      case opcode.SHORT_BINSTRING:
        return operands.python2Text(operands.byte());
      case opcode.BINSTRING:
        return operands.python2Text(operands.length(4));
      case opcode.SHORT_BINBYTES:
        return operands.copy(operands.byte());
      case opcode.BINBYTES:
        return operands.copy(operands.length(4));
      case opcode.BINBYTES8:
      case opcode.BYTEARRAY8:
        return operands.copy(operands.length(8));

      case opcode.EMPTY_LIST:
        return this.#container([]);
      case opcode.EMPTY_DICT:
        return this.#container(new Map());
      case opcode.EMPTY_SET:
        return this.#container(new Set());
      case opcode.EMPTY_TUPLE:
        return this.#container(new PickleTuple([]));
      case opcode.LIST:
        return this.#container(stack.popMarked());
      case opcode.TUPLE:
        return this.#container(new PickleTuple(stack.popMarked()));
      case opcode.TUPLE1:
      case opcode.TUPLE2:
      case opcode.TUPLE3:
        return this.#container(new PickleTuple(stack.popCount(code - opcode.TUPLE1 + 1)));
      case opcode.FROZENSET:
        return this.#container(new Set(stack.popMarked()));
      case opcode.DICT: {
        const dict = this.#container(new Map<PickleValue, PickleValue>());
        setIn(dict, stack.popMarked(), this.#context.refuse);
        return dict;
      }

      case opcode.DUP:
        return stack.top();
      case opcode.BINGET:
        return stack.recall(operands.byte());
      case opcode.LONG_BINGET:
        return stack.recall(operands.uint32());
      case opcode.GET:
        return stack.recall(operands.memoPlace());

      case opcode.GLOBAL:
        return this.#global(operands.line(), operands.line());
      case opcode.STACK_GLOBAL: {
        const [module, name] = stack.popCount(2);
        if (typeof module !== 'string' || typeof name !== 'string')
          this.#refuse('a global is named by something else than text');
        return this.#global(module, name);
      }
      case opcode.REDUCE:
      case opcode.NEWOBJ: {
        const [target, args] = stack.popCount(2);
        return this.#container(callGlobal(target!, args!, this.#context));
      }
      case opcode.NEWOBJ_EX: {
        const [target] = stack.popCount(3);
        if (!(target instanceof InertObject))
          this.#refuse(`${kindOf(target)} is called with named arguments`);
        return target;
      }
      case opcode.BINPERSID:
        return this.#storage(storageOf(stack.pop(), this.#context.refuse));
      default:
        return undefined;
    }
  }

  /** Opcodes that change what is there. */
  #act(code: number): void {
    const operands = this.#operands;
    const stack = this.#stack;
    switch (code) {
      case opcode.PROTO: {
        const protocol = operands.byte();
        if (protocol > highestProtocol)
          this.#refuse(`pickle protocol ${protocol} is not known, at most ${highestProtocol} is`);
        break;
      }
      case opcode.FRAME: // only says how much follows
        operands.length(8);
        break;
      case opcode.MARK:
        stack.mark();
        break;
      case opcode.POP:
        stack.drop();
        break;
      case opcode.POP_MARK:
        stack.popMarked();
        break;
      case opcode.APPEND:
        this.#change(appendTo, stack.popCount(1));
        break;
      case opcode.APPENDS:
        this.#change(appendTo, stack.popMarked());
        break;
      case opcode.ADDITEMS:
        this.#change(addTo, stack.popMarked());
        break;
      case opcode.SETITEM:
        this.#change(setIn, stack.popCount(2));
        break;
      case opcode.SETITEMS:
        this.#change(setIn, stack.popMarked());
        break;
      case opcode.BINPUT:
        stack.memoize(operands.byte());
        break;
      case opcode.LONG_BINPUT:
        stack.memoize(operands.uint32());
        break;
      case opcode.PUT:
        stack.memoize(operands.memoPlace());
        break;
      case opcode.MEMOIZE:
        stack.memoize();
        break;
      case opcode.BUILD:
        stack.pop();
        setAttributes(stack.top(), this.#context.refuse);
        break;
      default:
        this.#refuse(
          opcodeName(code).startsWith('0x')
            ? 'this is no opcode of a pickle'
            : 'this opcode is not needed for checkpoints and is refused',
        );
    }
  }

  /** Puts items into what is on top of the stack. */
  #change(into: typeof appendTo, items: readonly PickleValue[]): void {
    into(this.#stack.top(), items, this.#context.refuse);
  }

  #container<T extends PickleValue>(value: T): T {
    this.#containers += 1;
    if (this.#containers > limits.containers)
      this.#refuse(`this pickle makes more than ${limits.containers} lists, tuples and dicts`);
    return value;
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
}
