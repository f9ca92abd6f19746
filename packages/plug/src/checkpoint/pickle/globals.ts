// The functions and classes that a pickle may name, and what calling them makes. Every global that is not listed
// becomes an inert object: nothing is imported and nothing runs. Those whose only use in a checkpoint is an attack are
// refused at once, as the file then was made to harm whoever opens it with Python.
import type { DType } from '@openplug/torch';
import {
  InertObject,
  KnownGlobal,
  kindOf,
  PickleDType,
  PickleTuple,
  type PickleValue,
  StorageReference,
  StorageType,
  TensorView,
} from './values.js';

/** Refuses the pickle at the current position. */
export type Refuse = (problem: string) => never;

const storageTypes: Record<string, DType> = {
  'torch.FloatStorage': 'float32',
  'torch.DoubleStorage': 'float64',
  'torch.HalfStorage': 'float16',
  'torch.BFloat16Storage': 'bfloat16',
  'torch.LongStorage': 'int64',
  'torch.IntStorage': 'int32',
  'torch.ShortStorage': 'int16',
  'torch.CharStorage': 'int8',
  'torch.ByteStorage': 'uint8',
  'torch.BoolStorage': 'bool',
  // Bytes without a type, of torch 1.13 and of 2.x; the tensor's own dtype says what they are.
  'torch.storage._UntypedStorage': 'uint8',
  'torch.storage.UntypedStorage': 'uint8',
};

const dtypes: Record<string, DType> = {
  float32: 'float32',
  float: 'float32',
  float64: 'float64',
  double: 'float64',
  float16: 'float16',
  half: 'float16',
  bfloat16: 'bfloat16',
  int64: 'int64',
  long: 'int64',
  int32: 'int32',
  int: 'int32',
  int16: 'int16',
  short: 'int16',
  int8: 'int8',
  uint8: 'uint8',
  bool: 'bool',
};

/** Dtypes of torch that have no tensors here; only named, so that settings which mention them can be skipped. */
const otherDTypes =
  /^(complex(32|64|128)|[cz](half|float|double)|q(u?int(8|32|4x2|2x4))|uint(16|32|64)|float8_\w+)$/;

/**
 * Modules that reach the system, run code or unpickle again. This list is no line of defence, as unknown globals do
 * nothing; it tells a file that was made to do harm from one that holds settings of an unknown class.
 */
const hostileModules = new Set(
  (
    'os posix nt subprocess sys pty shutil socket importlib runpy ctypes _ctypes pickle _pickle cloudpickle dill ' +
    'marshal code codeop commands popen2 webbrowser http urllib urllib2 urllib3 requests ftplib smtplib telnetlib ' +
    'asyncio zipimport imp pip pkgutil pdb bdb timeit'
  ).split(' '),
);

/** Built-in functions that run code or reach objects by name. */
const hostileBuiltins = new Set(
  (
    'eval exec execfile compile open file getattr setattr delattr __import__ apply globals locals vars input ' +
    'raw_input breakpoint exit quit help'
  ).split(' '),
);

function isHostile(module: string, name: string): boolean {
  if (module === 'builtins' || module === '__builtin__') return hostileBuiltins.has(name.split('.')[0]!);
  if (hostileModules.has(module.split('.')[0]!)) return true;
  // Attributes reached through a harmless module ("torch.serialization.os.system") are another way to the same.
  return module !== '__main__' && /(^|\.)(os|posix|subprocess|sys|__\w+__)(\.|$)/.test(`${module}.${name}`);
}

/** The value of a global. @throws through `refuse` for one that only an attack needs */
export function globalNamed(module: string, name: string, position: number, refuse: Refuse): PickleValue {
  const full = `${module === '__builtin__' ? 'builtins' : module}.${name}`;
  const storage = Object.hasOwn(storageTypes, full) ? storageTypes[full] : undefined;
  if (storage) return new StorageType(full, storage);
  if (module === 'torch' && (Object.hasOwn(dtypes, name) || otherDTypes.test(name)))
    return new PickleDType(full, Object.hasOwn(dtypes, name) ? dtypes[name] : undefined);
  if (callables.has(full)) return new KnownGlobal(full);
  if (isHostile(module, name))
    return refuse(
      `the global "${full}" is no part of a checkpoint; it serves to run code. It was not executed. ` +
        'Do not open this file with Python',
    );
  return new InertObject(full, position);
}

/** What a call needs of the machine. */
export interface CallContext {
  readonly position: number;
  readonly refuse: Refuse;
  /** Counts elements that are copied against the limit of the whole pickle. */
  spend(elements: number): void;
}

type Callable = (args: readonly PickleValue[], context: CallContext) => PickleValue;

/**
 * What calling `target` with `args` makes. Anything inert among them makes the result inert.
 * @throws through `context.refuse` when the target cannot be called, or not with these arguments
 */
export function callGlobal(target: PickleValue, args: PickleValue, context: CallContext): PickleValue {
  if (target instanceof InertObject) return target;
  if (!(target instanceof KnownGlobal)) return context.refuse(`${kindOf(target)} is called`);
  if (args instanceof InertObject) return args;
  if (!(args instanceof PickleTuple))
    return context.refuse(`${target.name} is called with ${kindOf(args)} instead of a tuple`);
  const inert = args.items.find((item) => item instanceof InertObject);
  if (inert) return inert;
  return callables.get(target.name)!(args.items, context);
}

const callables = new Map<string, Callable>([
  ['collections.OrderedDict', orderedDict],
  // A defaultdict's first argument is its factory, which nobody calls here.
  ['collections.defaultdict', (args, context) => orderedDict(args.slice(1), context)],
  ['builtins.dict', orderedDict],
  ['builtins.list', (args, context) => itemsOf(args, context)],
  ['builtins.tuple', (args, context) => new PickleTuple(itemsOf(args, context))],
  ['builtins.set', (args, context) => new Set(itemsOf(args, context))],
  ['builtins.frozenset', (args, context) => new Set(itemsOf(args, context))],
  ['builtins.bytearray', encodedBytes],
  ['builtins.bytes', encodedBytes],
  ['_codecs.encode', encodedBytes],
  [
    'torch.Size',
    (args, { refuse }) => (args[0] instanceof PickleTuple ? args[0] : refuse('torch.Size needs a tuple')),
  ],
  ['torch.device', (args) => (typeof args[0] === 'string' ? args[0] : 'cpu')],
  ['torch._utils._rebuild_tensor_v2', (args, context) => tensorView(args, 0, context)],
  ['torch._utils._rebuild_tensor_v3', (args, context) => tensorView(args, 1, context)],
  ['torch._utils._rebuild_parameter', parameter],
  ['torch._utils._rebuild_parameter_with_state', parameter],
]);

function orderedDict(args: readonly PickleValue[], context: CallContext): PickleValue {
  const [pairs] = args;
  if (pairs instanceof Map) {
    context.spend(pairs.size);
    return new Map(pairs);
  }
  const dict = new Map<PickleValue, PickleValue>();
  for (const pair of itemsOf(args, context)) {
    const items = pair instanceof PickleTuple ? pair.items : Array.isArray(pair) ? pair : [];
    if (items.length !== 2) return context.refuse('a dict is made of something else than pairs');
    dict.set(items[0]!, items[1]!);
  }
  return dict;
}

function itemsOf(args: readonly PickleValue[], { refuse, spend }: CallContext): PickleValue[] {
  const [given] = args;
  if (args.length === 0) return [];
  const items = given instanceof PickleTuple ? given.items : given;
  if (!Array.isArray(items) && !(items instanceof Set))
    return refuse(`a collection is made of ${kindOf(given)}`);
  spend(items instanceof Set ? items.size : items.length);
  return [...items];
}

/** Protocol 2 writes bytes as a text of Latin-1 characters that is encoded when read. */
function encodedBytes(args: readonly PickleValue[], { refuse, spend }: CallContext): PickleValue {
  const [text, encoding] = args;
  if (text === undefined) return new Uint8Array(0);
  if (text instanceof Uint8Array) {
    spend(text.length);
    return text.slice();
  }
  if (typeof text !== 'string' || !(encoding === 'latin1' || encoding === 'latin-1'))
    return refuse('bytes are made of something else than Latin-1 text');
  spend(text.length);
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

/** (data, requires_grad, backward_hooks[, state]) → data. */
function parameter(args: readonly PickleValue[], { refuse }: CallContext): PickleValue {
  return args[0] instanceof TensorView ? args[0] : refuse(`a parameter is made of ${kindOf(args[0])}`);
}

const maxDimensions = 64; // torch's own limit

/** (storage, offset, sizes, strides, requires_grad, backward_hooks[, metadata]); version 3 has the dtype before it. */
function tensorView(
  args: readonly PickleValue[],
  extra: 0 | 1,
  { position, refuse }: CallContext,
): PickleValue {
  const [storage, offset, shape, strides] = args;
  if (args.length < 6 + extra || args.length > 7 + extra)
    return refuse(`a tensor is made from ${args.length} values, expected ${6 + extra}`);
  if (!(storage instanceof StorageReference))
    return refuse(`a tensor is made over ${kindOf(storage)}, not a storage`);
  const sizes = naturals(shape);
  const steps = naturals(strides);
  if (!isNatural(offset) || !sizes || !steps || sizes.length !== steps.length)
    return refuse('a tensor has a wrong offset, size or stride');
  if (sizes.length > maxDimensions)
    return refuse(`a tensor has ${sizes.length} dimensions, at most ${maxDimensions} are possible`);
  let dtype = storage.dtype;
  if (extra) {
    const stated = args[6];
    if (!(stated instanceof PickleDType) || !stated.dtype)
      return refuse(`a tensor has the dtype ${stated instanceof PickleDType ? stated.name : kindOf(stated)}`);
    dtype = stated.dtype;
  }
  return new TensorView(storage, dtype, offset, sizes, steps, position);
}

function isNatural(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function naturals(value: PickleValue | undefined): number[] | undefined {
  const items = value instanceof PickleTuple ? value.items : value;
  return Array.isArray(items) && items.every(isNatural) ? items : undefined;
}

/**
 * The storage of a persistent id: ("storage", class, key, location, number of elements[, view]).
 * @throws through `refuse` for any other
 */
export function storageOf(id: PickleValue, refuse: Refuse): PickleValue {
  if (!(id instanceof PickleTuple) || id.items[0] !== 'storage')
    return refuse('a persistent id is not that of a storage');
  const [, type, key, , numel, view] = id.items;
  if (type instanceof InertObject) return type;
  if (!(type instanceof StorageType)) return refuse(`the class of a storage is ${kindOf(type)}`);
  if (typeof key !== 'string' || !isNatural(numel)) return refuse('a storage has a wrong key or size');
  if (view !== undefined && view !== null)
    return refuse('a storage is a part of another one, as only torch before 0.4 wrote it');
  return new StorageReference(key, type.dtype, numel);
}
