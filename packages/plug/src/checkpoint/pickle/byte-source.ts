// Bytes that are read where they are needed: a file, or memory. A checkpoint is read with positioned reads rather
// than through a mapping: pages of a mapping count as the process's memory as long as nothing else wants them, so
// that converting 52 GB would show 52 GB; and a file that shrinks meanwhile gives an error, not a crash.
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { crc32 as nativeCrc32 } from 'node:zlib';
import { CheckpointError, DisposedError } from '../../errors.js';

export interface ByteSource extends Disposable {
  readonly path: string;
  /** Bytes in all. */
  readonly size: number;
  /**
   * Fills `target` with the bytes at `position`.
   * @throws CheckpointError when there are not so many or they cannot be read; DisposedError after disposal
   */
  read(position: number, target: Uint8Array): void;
}

/** A new array of the bytes at `position`. @throws CheckpointError when they lie outside the source */
export function bytesAt(source: ByteSource, position: number, length: number): Uint8Array {
  checkRange(source, position, length);
  const bytes = new Uint8Array(length);
  source.read(position, bytes);
  return bytes;
}

/** @throws CheckpointError when the file cannot be opened or is none */
export function openByteSource(path: string): ByteSource {
  let file: number | undefined;
  let size: number;
  try {
    if (!statSync(path).isFile()) throw new Error('it is not a file'); // asked first: opening a pipe would wait
    file = openSync(path, 'r');
    size = fstatSync(file).size;
  } catch (error) {
    if (file !== undefined) closeSync(file);
    throw new CheckpointError(`Cannot open ${path}: ${(error as Error).message}`, { cause: error });
  }
  const source: ByteSource = {
    path,
    size,
    read(position, target) {
      if (file === undefined)
        throw new DisposedError(`${path} was closed: read tensors before disposing of it.`);
      checkRange(source, position, target.length);
      for (let done = 0; done < target.length; ) {
        const count = readPart(path, file, target, done, position + done);
        if (count === 0)
          throw new CheckpointError(
            `${path} became shorter while it was read: it ends before byte ${position + target.length}.`,
          );
        done += count;
      }
    },
    [Symbol.dispose]() {
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
  return source;
}

/** A read takes 2 GB at most. */
const largestRead = 1 << 30;

function readPart(path: string, file: number, target: Uint8Array, done: number, position: number): number {
  try {
    return readSync(file, target, done, Math.min(target.length - done, largestRead), position);
  } catch (error) {
    throw new CheckpointError(`${path} cannot be read at byte ${position}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Bytes in memory, under a name for errors. */
export function memorySource(path: string, bytes: Uint8Array): ByteSource {
  const source: ByteSource = {
    path,
    size: bytes.length,
    read(position, target) {
      checkRange(source, position, target.length);
      target.set(bytes.subarray(position, position + target.length));
    },
    [Symbol.dispose]() {},
  };
  return source;
}

function checkRange({ path, size }: ByteSource, position: number, length: number): void {
  if (position < 0 || length < 0 || position + length > size)
    throw new CheckpointError(
      `${path}: bytes ${position} to ${position + length} are needed, the file has ${size}: it is truncated or damaged.`,
    );
}

const crcTable = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** As `crc32`, for Node before 20.15, whose zlib has none. */
export function tableCrc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let index = 0; index < bytes.length; index++)
    crc = (crc >>> 8) ^ crcTable[(crc ^ bytes[index]!) & 255]!;
  return ~crc >>> 0;
}

/** CRC-32 of zip files; `before` is that of the bytes in front. */
export const crc32: (bytes: Uint8Array, before?: number) => number = nativeCrc32 ?? tableCrc32;
