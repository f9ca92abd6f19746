// Writes safetensors files tensor by tensor, so that a file may be larger than memory: to a temporary name that is
// renamed at the end, so a crash leaves the old file or the new one, never half of one.
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { bytesPerElement } from './create.js';
import { CheckpointError, OpenPlugError } from './errors.js';
import { native } from './native.js';
import type { TensorInfo } from './safetensors.js';
import { safetensorsName } from './safetensors-header.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

/** Bytes copied out of a tensor at a time while writing. */
const writeChunkBytes = 8 << 20;

/** A file that is being written. Nothing is at `path` before `finish()`; disposing of it before gives it up. */
export class SafetensorsWriter implements Disposable {
  readonly path: string;
  readonly #temporary: string;
  readonly #expected: readonly (readonly [name: string, info: TensorInfo])[];
  readonly #hash = createHash('sha256');
  #file: number | undefined;
  /** Whether there is a temporary file to be removed. */
  #isTemporary = false;
  #written = 0;

  /**
   * Opens the temporary file and writes the header.
   * @param tensors what will be written, in that order. Put wide dtypes first when they are mixed: data is not
   *   padded, and unaligned tensors cannot be mapped when read.
   * @throws CheckpointError when a name cannot be stored or the file cannot be written
   */
  constructor(
    path: string,
    tensors: ReadonlyMap<string, TensorInfo>,
    metadata?: Readonly<Record<string, string>>,
  ) {
    this.path = path;
    this.#temporary = `${path}.tmp-${process.pid}`;
    this.#expected = [...tensors];
    const header = encodeHeader(path, tensors, metadata);
    this.#attempt(() => {
      this.#file = openSync(this.#temporary, 'w');
      this.#isTemporary = true;
      this.#append(header);
    });
  }

  /** Writes the next tensor. @throws CheckpointError when the disk is full; ShapeError for another than promised */
  write(name: string, item: Tensor): void {
    const [expectedName, { dtype, shape }] = this.#expected[this.#written]!;
    if (name !== expectedName || item.dtype !== dtype || `${item.shape}` !== `${shape}`)
      throw new CheckpointError(
        `Cannot write ${this.path}: "${name}" is ${item.dtype} [${item.shape}], ` +
          `but "${expectedName}", ${dtype} [${shape}], was to come next.`,
      );
    this.#attempt(() => this.#writeTensor(item));
    this.#written++;
  }

  /**
   * Makes the file durable and gives it its name.
   * @returns the SHA-256 of all its bytes, in hexadecimal
   * @throws CheckpointError when a tensor is missing or the disk is full; what was at `path` before is then still there
   */
  finish(): string {
    const missing = this.#expected[this.#written];
    if (missing) throw new CheckpointError(`Cannot finish ${this.path}: "${missing[0]}" was not written.`);
    this.#attempt(() => {
      const file = this.#file!;
      fsyncSync(file);
      this.#file = undefined;
      closeSync(file);
      renameSync(this.#temporary, this.path);
      this.#isTemporary = false;
    });
    syncFolder(dirname(this.path));
    return this.#hash.digest('hex');
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    if (this.#isTemporary) rmSync(this.#temporary, { force: true });
    this.#isTemporary = false;
  }

  #attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      this[Symbol.dispose]();
      if (error instanceof OpenPlugError) throw error; // of a tensor, not of the file
      throw new CheckpointError(
        `Cannot write ${this.path}: ${(error as Error).message}. Nothing was replaced; free some space or choose ` +
          'another folder, then try again.',
        { cause: error },
      );
    }
  }

  /** In pieces, so that a tensor of gigabytes needs no second copy; raw words, so that every dtype is exact. */
  #writeTensor(item: Tensor): void {
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
        this.#append(bytes);
      }
    });
  }

  /** One write may store only a part, for example when the disk is nearly full. */
  #append(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    for (let written = 0; written < bytes.length; )
      written += writeSync(this.#file!, bytes, written, bytes.length - written);
  }
}

/**
 * Writes `tensors` in the order given, durably; see `SafetensorsWriter`.
 * @returns the SHA-256 of the file
 * @throws CheckpointError when a name cannot be stored or the file cannot be written (disk full, no permission);
 * what was at `path` before is then still there.
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata?: Readonly<Record<string, string>>,
): string {
  using writer = new SafetensorsWriter(path, tensors, metadata);
  for (const [name, item] of tensors) writer.write(name, item);
  return writer.finish();
}

function encodeHeader(
  path: string,
  tensors: ReadonlyMap<string, TensorInfo>,
  metadata: Readonly<Record<string, string>> | undefined,
): Uint8Array {
  const fields: string[] = [];
  if (metadata) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let position = 0;
  for (const [name, { dtype, shape }] of tensors) {
    if (name === '__metadata__' || /\p{Surrogate}/u.test(name))
      throw new CheckpointError(`Cannot write ${path}: ${JSON.stringify(name)} cannot be a tensor's name.`);
    const end = position + shape.reduce((product, size) => product * size, bytesPerElement[dtype]);
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"${safetensorsName(dtype)}","shape":[${shape}],"data_offsets":[${position},${end}]}`,
    );
    position = end;
  }
  const json = Buffer.from(`{${fields.join(',')}}`);
  // Data begins at a multiple of 64, a cache line and the widest vector.
  const padded = Math.ceil((8 + json.length) / 64) * 64 - 8;
  const header = Buffer.alloc(8 + padded, ' ');
  header.writeBigUInt64LE(BigInt(padded));
  json.copy(header, 8);
  return header;
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
