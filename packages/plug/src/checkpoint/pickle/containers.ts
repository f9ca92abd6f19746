// The two containers of torch.save: since torch 1.6 a zip (NAME/data.pkl, NAME/data/KEY, NAME/version), before that
// pickles one after another (magic number, protocol, system, the object, storage keys) with raw storages behind.
// Source: torch/serialization.py of PyTorch.
import { bytesPerElement } from '@openplug/torch';
import { CheckpointError } from '../../errors.js';
import { type ByteSource, bytesAt, crc32 } from './byte-source.js';
import { type ReadPickle, readPickle } from './reader.js';
import type { StorageTable, StoredBytes } from './storages.js';
import { kindOf, type PickleValue, type StorageReference, shown } from './values.js';
import { readZipDirectory, type ZipEntry } from './zip-reader.js';

export interface Container {
  readonly kind: 'zip' | 'legacy';
  /** The object that was saved. */
  readonly root: PickleValue;
  readonly storages: StorageTable;
}

/** A pickle of a checkpoint with a thousand tensors has 200 kB. */
const largestPickle = 64 << 20;
const legacyMagic = 0x1950a86a20f9469cfc6cn;
const legacyProtocol = 1001;

/**
 * Recognises and reads the container; no storage is read.
 * @throws CheckpointError
 */
export function openContainer(source: ByteSource): Container {
  const head = Buffer.from(bytesAt(source, 0, Math.min(64, source.size)));
  if (head.toString('latin1', 0, 4) === 'PK\x03\x04') return openZip(source);
  if (head[0] === 0x80) return openLegacy(source);
  const hint = head.toString('latin1').startsWith('version https://git-lfs')
    ? 'It is a pointer of Git LFS: fetch the file itself with "git lfs pull".'
    : source.size === 0
      ? 'It is empty.'
      : `It starts with ${shown(head.toString('latin1', 0, 16))}.`;
  throw new CheckpointError(`${source.path} is not a file of torch.save. ${hint}`);
}

function openZip(source: ByteSource): Container {
  const entries = readZipDirectory(source);
  const refuse = (problem: string): never => {
    throw new CheckpointError(`${source.path}: ${problem}.`);
  };
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const [pickleName] = pickles;
  if (!pickleName || pickles.length > 1)
    return refuse(
      `the zip has ${pickles.length} entries NAME/data.pkl, a file of torch.save has one ` +
        `(entries: ${[...entries.keys()].slice(0, 3).map(shown).join(', ')})`,
    );
  const folder = pickleName.slice(0, -'data.pkl'.length);
  const stray = [...entries.keys()].find((name) => !name.startsWith(folder));
  if (stray) refuse(`the zip entry ${shown(stray)} is outside the folder ${shown(folder)}`);
  if (entries.has(`${folder}constants.pkl`))
    refuse('this is a TorchScript program, not a file of torch.save');
  const order = smallText(source, entries.get(`${folder}byteorder`));
  if (order !== undefined && order !== 'little')
    refuse(`the byte order is ${shown(order)}, only "little" is supported`);
  const pickle = entries.get(pickleName)!;
  if (pickle.size > largestPickle) refuse(`data.pkl has ${pickle.size} bytes, more than ${largestPickle}`);
  const bytes = bytesAt(source, pickle.start, pickle.size);
  if (crc32(bytes) !== pickle.crc32)
    refuse('data.pkl does not have the checksum of the directory: the file is damaged');
  const { value, end } = readPickle({ bytes, where: `${source.path}, data.pkl` });
  if (end !== bytes.length) refuse(`data.pkl has ${bytes.length - end} bytes behind its end`);
  return {
    kind: 'zip',
    root: value,
    storages: {
      source,
      find(storage) {
        const entry = entries.get(`${folder}data/${storage.key}`);
        if (!entry) return refuse(`the storage ${shown(storage.key)} is missing in the zip`);
        checkSize(source.path, storage, entry.size);
        return entry;
      },
    },
  };
}

function smallText(source: ByteSource, entry: ZipEntry | undefined): string | undefined {
  if (!entry) return undefined;
  return Buffer.from(bytesAt(source, entry.start, Math.min(entry.size, 64)))
    .toString('latin1')
    .trim();
}

function checkSize(path: string, storage: StorageReference, size: number): void {
  const expected = storage.numel * bytesPerElement[storage.dtype];
  if (size !== expected)
    throw new CheckpointError(
      `${path}: the storage ${shown(storage.key)} has ${size} bytes, expected ${expected} ` +
        `(${storage.numel} of ${storage.dtype}): the file is damaged.`,
    );
}

/** First try: pickles rarely have more, and reading 64 MB for a few kB would be waste. */
const usualPickle = 1 << 20;

/** A legacy file's four values. */
interface LegacyHead {
  readonly root: ReadPickle;
  readonly keys: PickleValue;
  /** Where the storages start. */
  readonly end: number;
}

function openLegacy(source: ByteSource): Container {
  const refuse = (problem: string): never => {
    throw new CheckpointError(`${source.path}: ${problem}.`);
  };
  const { root, keys, end } = readLegacyHead(source, refuse);
  if (!Array.isArray(keys)) return refuse(`the storage keys are ${kindOf(keys)}, expected a list`);
  const storages = new Map<string, StoredBytes>();
  let position = end;
  // Each storage is its number of elements (8 bytes) and the elements; only the references say how wide those are.
  for (const key of keys) {
    if (typeof key !== 'string' || storages.has(key))
      return refuse('the storage keys are not different texts');
    const reference = root.storages.get(key);
    if (!reference) return refuse(`nothing refers to the storage ${shown(key)}, so its size is not known`);
    const numel = Buffer.from(bytesAt(source, position, 8)).readBigInt64LE(0);
    if (numel !== BigInt(reference.numel))
      refuse(
        `the storage ${shown(key)} has ${numel} elements, expected ${reference.numel}: the file is damaged`,
      );
    const size = reference.numel * bytesPerElement[reference.dtype];
    const start = position + 8;
    if (start + size > source.size)
      refuse(
        `the storage ${shown(key)} needs bytes ${start} to ${start + size}, the file has ${source.size}: it is truncated`,
      );
    storages.set(key, { start, size });
    position = start + size;
  }
  if (position !== source.size)
    refuse(`${source.size - position} bytes follow the last storage: the file is damaged`);
  return {
    kind: 'legacy',
    root: root.value,
    storages: {
      source,
      find(storage) {
        const stored = storages.get(storage.key);
        if (!stored) return refuse(`the storage ${shown(storage.key)} is missing`);
        checkSize(source.path, storage, stored.size);
        return stored;
      },
    },
  };
}

function readLegacyHead(source: ByteSource, refuse: (problem: string) => never): LegacyHead {
  if (source.size > usualPickle)
    try {
      return parseLegacyHead(source, usualPickle, refuse);
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
    }
  return parseLegacyHead(source, Math.min(source.size, largestPickle), refuse);
}

function parseLegacyHead(source: ByteSource, length: number, refuse: (problem: string) => never): LegacyHead {
  const bytes = bytesAt(source, 0, length);
  let position = 0;
  const next = (what: string): ReadPickle => {
    const read = readPickle({ bytes, start: position, where: `${source.path}, ${what}` });
    position = read.end;
    return read;
  };
  if (next('magic number').value !== legacyMagic)
    refuse('this pickle was not written by torch.save: its magic number is missing');
  const protocol = next('protocol').value;
  if (protocol !== legacyProtocol)
    refuse(`the protocol of torch.save is not ${legacyProtocol} but ${kindOf(protocol)}`);
  const system = next('system').value;
  if (!(system instanceof Map) || system.get('little_endian') !== true)
    refuse('it was not written on a little-endian machine, which is not supported');
  const root = next('object');
  const keys = next('storage keys').value;
  return { root, keys, end: position };
}
