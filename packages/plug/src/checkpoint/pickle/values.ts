// What a pickle becomes here: plain JavaScript data and descriptions of tensors. Nothing in it is code.
import type { DType } from '@openplug/torch';

/** Any value that the reader makes. A dict is a Map, a list an Array, bytes a Uint8Array. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Set<PickleValue>
  | PickleTuple
  | PickleDType
  | StorageType
  | StorageReference
  | TensorView
  | KnownGlobal
  | InertObject;

export class PickleTuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

/** `torch.float16` and its like; `dtype` is undefined for those that have no tensors here (complex, quantised). */
export class PickleDType {
  constructor(
    readonly name: string,
    readonly dtype: DType | undefined,
  ) {}
}

/** The class of a storage: what its elements are. */
export class StorageType {
  constructor(
    readonly name: string,
    readonly dtype: DType,
  ) {}
}

/** A flat run of elements that the container holds under `key`. */
export class StorageReference {
  constructor(
    readonly key: string,
    readonly dtype: DType,
    /** Number of elements. */
    readonly numel: number,
  ) {}
}

/** A tensor: sizes and strides (in elements) over a storage. Not yet checked against the storage. */
export class TensorView {
  constructor(
    readonly storage: StorageReference,
    readonly dtype: DType,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    /** Byte of the pickle at which it was made, for error texts. */
    readonly position: number,
  ) {}
}

/** A function or class that this reader knows; it is called by REDUCE and NEWOBJ. */
export class KnownGlobal {
  constructor(readonly name: string) {}
}

/**
 * Stands for an object of a class that this reader does not know. It holds no part of the object and does nothing:
 * whatever is done to it in the pickle is dropped.
 */
export class InertObject {
  constructor(
    /** The global that would have been imported, "argparse.Namespace". */
    readonly global: string,
    readonly position: number,
  ) {}
}

/** A text from a file, safe to show: quoted, shortened, control and direction characters escaped. */
export function shown(text: string): string {
  const short = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  return JSON.stringify(short).replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** What kind of value it is, in Python's words. */
export function kindOf(value: PickleValue | undefined): string {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return 'a bool';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an int' : 'a float';
  if (typeof value === 'bigint') return 'an int';
  if (typeof value === 'string') return 'a str';
  if (value instanceof Uint8Array) return 'bytes';
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Map) return 'a dict';
  if (value instanceof Set) return 'a set';
  if (value instanceof PickleTuple) return 'a tuple';
  if (value instanceof PickleDType) return 'a dtype';
  if (value instanceof StorageType) return 'a storage class';
  if (value instanceof StorageReference) return 'a storage';
  if (value instanceof TensorView) return 'a tensor';
  return value instanceof KnownGlobal ? `the global ${value.name}` : `an object of ${shown(value.global)}`;
}
