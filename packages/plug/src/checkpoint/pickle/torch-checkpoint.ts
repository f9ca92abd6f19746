// A file of torch.save as named tensors: the state dict in it is found, nested dicts become dotted names, and each
// tensor is checked at once and read when it is asked for. Nothing in the file is executed.
import type { TensorInfo } from '@openplug/torch';
import { CheckpointError } from '../../errors.js';
import type { TensorSource } from '../tensor-source.js';
import { type ByteSource, openByteSource } from './byte-source.js';
import { type Container, openContainer } from './containers.js';
import { checkView, StorageReader } from './storages.js';
import { InertObject, kindOf, type PickleValue, shown, TensorView } from './values.js';

export interface TorchCheckpointOptions {
  /**
   * Keys that lead to the state dict: `['module']`. Default: the first of `module`, `state_dict`,
   * `model_state_dict` and `model` that holds a dict; the whole object when there is none.
   */
  within?: readonly string[];
  /** Compare each storage's CRC-32 when it is first read. Default false. The legacy container has none. */
  verify?: boolean;
}

/** An open file of torch.save. */
export interface TorchCheckpoint extends TensorSource {
  readonly container: 'zip' | 'legacy';
  /** Keys under which the state dict was found; empty for the whole object. */
  readonly within: readonly string[];
  /** Keys of the saved object that are texts. */
  keys(): string[];
  /** A plain value beside the state dict: text, number, bool or null; undefined for all others. */
  plain(key: string): string | number | boolean | null | undefined;
  /** Names in the state dict that hold something other than a tensor; they are not read. */
  readonly others: readonly string[];
}

const wrappers = ['module', 'state_dict', 'model_state_dict', 'model'];

/** Values that are looked at when a state dict is walked: shared parts of a hostile one multiply. */
const mostEntries = 500_000;
const deepestNesting = 32;
const longestName = 1000;
/** Characters of all names together. */
const mostCharacters = 20_000_000;

/**
 * Opens a file of torch.save. All of its pickle is read and every tensor's place is checked; no elements are read.
 * @throws CheckpointError for anything that is not a plain state dict, naming the byte of what is refused
 */
export function openTorchCheckpoint(path: string, options: TorchCheckpointOptions = {}): TorchCheckpoint {
  return openTorchBytes(openByteSource(path), options);
}

/** As `openTorchCheckpoint`, on bytes that are there already; they are disposed of with the checkpoint. */
export function openTorchBytes(source: ByteSource, options: TorchCheckpointOptions = {}): TorchCheckpoint {
  try {
    return checkpointOver(source, openContainer(source), options);
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
}

function checkpointOver(
  source: ByteSource,
  { kind, root, storages }: Container,
  options: TorchCheckpointOptions,
): TorchCheckpoint {
  const { path } = source;
  const top = asDict(path, root, 'The saved object');
  const within = options.within ?? findStateDict(top);
  let dict = top;
  for (const [depth, key] of within.entries()) {
    if (!dict.has(key))
      throw new CheckpointError(
        `${path} has no key ${shown(key)}; it has ${textKeys(dict).slice(0, 8).map(shown).join(', ')}.`,
      );
    dict = asDict(path, dict.get(key)!, `The value of key ${shown(within.slice(0, depth + 1).join('.'))}`);
  }
  const { tensors, others } = flatten(path, dict);
  for (const [name, view] of tensors) checkView(storages, name, view);
  const reader = new StorageReader(storages, options.verify ?? false);
  const find = (name: string): TensorView => {
    const view = tensors.get(name);
    if (view) return view;
    const some = [...tensors.keys()].slice(0, 3).map(shown).join(', ');
    throw new CheckpointError(`${path} has no tensor ${shown(name)}; it has ${tensors.size}: ${some}, ….`);
  };
  return {
    path,
    container: kind,
    within,
    others,
    keys: () => textKeys(top),
    plain(key) {
      const value = top.get(key);
      return value === null || ['string', 'number', 'boolean'].includes(typeof value)
        ? (value as string | number | boolean | null)
        : undefined;
    },
    names: () => [...tensors.keys()],
    has: (name) => tensors.has(name),
    info(name): TensorInfo {
      const { dtype, shape } = find(name);
      return { dtype, shape: [...shape] };
    },
    tensor: (name) => reader.read(name, find(name)),
    [Symbol.dispose]: () => source[Symbol.dispose](),
  };
}

type Dict = ReadonlyMap<PickleValue, PickleValue>;

function asDict(path: string, value: PickleValue, what: string): Dict {
  if (value instanceof Map) return value;
  if (value instanceof InertObject) refuseInert(path, what, value);
  throw new CheckpointError(`${path}: ${what} is ${kindOf(value)}, expected a dict of tensors.`);
}

function refuseInert(path: string, what: string, { global, position }: InertObject): never {
  throw new CheckpointError(
    `${path}: ${what} is made by the global ${shown(global)} (byte ${position} of the pickle), which is not one that ` +
      'tensors need. It was not executed. Save the plain state_dict of the model instead.',
  );
}

function textKeys(dict: Dict): string[] {
  return [...dict.keys()].filter((key) => typeof key === 'string');
}

/** Training saves the state dict under a key of its own, beside settings and states that may be tensors too. */
function findStateDict(top: Dict): readonly string[] {
  const wrapper = wrappers.find((key) => top.get(key) instanceof Map || top.get(key) instanceof InertObject);
  return wrapper === undefined ? [] : [wrapper];
}

/** Tensors by dotted name, in their order. Walks with a stack of its own; shared and cyclic dicts run into limits. */
function flatten(path: string, root: Dict): { tensors: Map<string, TensorView>; others: string[] } {
  const tensors = new Map<string, TensorView>();
  const others: string[] = [];
  const open = [{ prefix: '', entries: root.entries() }];
  let visited = 0;
  let characters = 0;
  while (open.length > 0) {
    const { prefix, entries } = open.at(-1)!;
    const next = entries.next();
    if (next.done) {
      open.pop();
      continue;
    }
    const [key, value] = next.value;
    if (typeof key !== 'string' && typeof key !== 'number')
      throw new CheckpointError(`${path}: the state dict has ${kindOf(key)} as a key, expected names.`);
    const name = `${prefix}${key}`;
    visited += 1;
    characters += name.length;
    if (
      visited > mostEntries ||
      characters > mostCharacters ||
      open.length > deepestNesting ||
      name.length > longestName
    )
      throw new CheckpointError(
        `${path}: the state dict is too large or nested too deep at ${shown(name)} (at most ${mostEntries} entries, ` +
          `${deepestNesting} levels, names of ${longestName} characters).`,
      );
    if (value instanceof Map) open.push({ prefix: `${name}.`, entries: value.entries() });
    else if (value instanceof TensorView) {
      if (tensors.has(name)) throw new CheckpointError(`${path}: two tensors are named ${shown(name)}.`);
      tensors.set(name, value);
    } else if (value instanceof InertObject) refuseInert(path, `The entry ${shown(name)}`, value);
    else others.push(name);
  }
  return { tensors, others };
}
