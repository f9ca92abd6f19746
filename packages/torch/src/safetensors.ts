// Files of named tensors in the safetensors format: an 8-byte little-endian header length, a JSON header, and the
// tensors' bytes one after another. Reading maps the file and touches only what is asked for; writing streams to a
// temporary name and renames, so a crash leaves the old file or the new one, never half of one.
// Format: https://huggingface.co/docs/safetensors
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { bytesPerElement, mapFile, tensor } from './create.js';
import { CheckpointError, DisposedError, OpenPlugError } from './errors.js';
import { type DType, native } from './native.js';
import { parseHeader, safetensorsName, type TensorEntry } from './safetensors-header.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

/** What the header says of one tensor. */
export interface TensorInfo {
  dtype: DType;
  shape: readonly number[];
}

/** An open file of tensors; `close()` or `using` lets go of the mapping. */
export interface SafetensorsFile extends Disposable {
  readonly path: string;
  /** The header's free-form strings. */
  readonly metadata: Readonly<Record<string, string>>;
  /** All names, in the order of the header. */
  names(): string[];
  has(name: string): boolean;
  /** Dtype and shape, without touching the data. @throws CheckpointError when there is no such tensor. */
  info(name: string): TensorInfo;
  /**
   * The tensor, on the file's own pages where they are aligned for its dtype (bool is always copied, as bytes other
   * than 0 and 1 may stand there). Writing to it changes what later calls see, not the file. It stays valid after
   * `close()`. @throws CheckpointError when there is no such tensor, DisposedError after `close()`.
   */
  tensor(name: string): Tensor;
  /** Lets go of the mapping; memory is freed once the tensors on it are gone too. */
  close(): void;
}

/**
 * Opens a safetensors file. Only the header is read; the whole of it is checked.
 * @throws CheckpointError that names the file and what is wrong when it cannot be read or is malformed.
 */
export function openSafetensors(path: string): SafetensorsFile {
  let mapped: Uint8Array | undefined;
  try {
    mapped = mapFile(path);
  } catch (error) {
    throw new CheckpointError(`Cannot open ${path}: ${(error as Error).message}`, { cause: error });
  }
  const { entries, metadata, dataStart } = parseHeader(path, mapped);
  const entryOf = (name: string): TensorEntry => {
    const entry = entries.get(name);
    if (entry) return entry;
    const some = [...entries.keys()].slice(0, 3).join(', ');
    throw new CheckpointError(
      `${path} has no tensor "${name}"; it has ${entries.size}: ${some}${entries.size > 3 ? ', …' : ''}`,
    );
  };
  const close = (): void => {
    mapped = undefined;
  };
  return {
    path,
    metadata,
    names: () => [...entries.keys()],
    has: (name) => entries.has(name),
    info(name) {
      const { dtype, shape } = entryOf(name);
      return { dtype, shape: [...shape] };
    },
    tensor(name) {
      const { dtype, shape, begin, end } = entryOf(name);
      if (!mapped) throw new DisposedError(`${path} was closed: read "${name}" before close().`);
      const bytes = mapped.subarray(dataStart + begin, dataStart + end);
      if (dtype !== 'bool') return tensor(bytes, { dtype, shape, share: true });
      using stored = tensor(bytes, { dtype: 'uint8', shape, share: true });
      return stored.ne(0);
    },
    close,
    [Symbol.dispose]: close,
  };
}

/** Bytes copied out of a tensor at a time while writing. */
const writeChunkBytes = 8 << 20;

/**
 * Writes `tensors` in the order given, durably: to `path + '.tmp-<pid>'`, then fsync and rename. Put wide dtypes
 * first when they are mixed: data is not padded, and unaligned tensors cannot be mapped when read.
 * @throws CheckpointError when a name cannot be stored or the file cannot be written (disk full, no permission);
 * what was at `path` before is then still there.
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata?: Readonly<Record<string, string>>,
): void {
  const header = encodeHeader(path, tensors, metadata);
  const temporary = `${path}.tmp-${process.pid}`;
  let file: number | undefined;
  let created = false;
  try {
    file = openSync(temporary, 'w');
    created = true;
    writeAll(file, header);
    for (const [, item] of tensors) writeTensor(file, item);
    fsyncSync(file);
    closeSync(file);
    file = undefined;
    renameSync(temporary, path);
  } catch (error) {
    if (file !== undefined) closeSync(file);
    if (created) rmSync(temporary, { force: true });
    if (error instanceof OpenPlugError) throw error; // of a tensor, not of the file
    throw new CheckpointError(
      `Cannot write ${path}: ${(error as Error).message}. Nothing was replaced; free some space or choose ` +
        'another folder, then try again.',
      { cause: error },
    );
  }
  syncFolder(dirname(path));
}

function encodeHeader(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> | undefined,
): Uint8Array {
  const fields: string[] = [];
  if (metadata) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let position = 0;
  for (const [name, { dtype, shape, numel }] of tensors) {
    if (name === '__metadata__' || /\p{Surrogate}/u.test(name))
      throw new CheckpointError(`Cannot write ${path}: ${JSON.stringify(name)} cannot be a tensor's name.`);
    const end = position + numel * bytesPerElement[dtype];
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"${safetensorsName(dtype)}","shape":[${shape}],"data_offsets":[${position},${end}]}`,
    );
    position = end;
  }
  const json = Buffer.from(`{${fields.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8; // keeps the data aligned
  const header = Buffer.alloc(8 + padded, ' ');
  header.writeBigUInt64LE(BigInt(padded));
  json.copy(header, 8);
  return header;
}

/** In pieces, so that a tensor of gigabytes needs no second copy; raw words, so that every dtype is exact. */
function writeTensor(file: number, item: Tensor): void {
  scope(() => {
    const flat = item.detach().contiguous().reshape(-1);
    const width = bytesPerElement[flat.dtype];
    const step = writeChunkBytes / width;
    const total = flat.numel;
    const buffer = new Uint8Array(Math.min(writeChunkBytes, total * width));
    for (let start = 0; start < total; start += step) {
      const count = Math.min(step, total - start);
      const bytes = buffer.subarray(0, count * width);
      using part = flat.narrow(0, start, count);
      native.readBytes(part.handle, bytes);
      writeAll(file, bytes);
    }
  });
}

/** One write may store only a part, for example when the disk is nearly full. */
function writeAll(file: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
}

/** Makes the rename itself durable; file systems that cannot sync a folder need no help. */
function syncFolder(folder: string): void {
  let handle: number | undefined;
  try {
    handle = openSync(folder, 'r');
    fsyncSync(handle);
  } catch {
    // The file is complete either way.
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}
