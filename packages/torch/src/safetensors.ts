// Files of named tensors in the safetensors format: an 8-byte little-endian header length, a JSON header, and the
// tensors' bytes one after another. Each tensor is mapped when it is asked for, so a file may be larger than memory.
// Format: https://huggingface.co/docs/safetensors
import { closeSync, openSync } from 'node:fs';
import { CheckpointError, DisposedError } from './errors.js';
import { type DType, native } from './native.js';
import { readHeader, type TensorEntry } from './safetensors-header.js';
import { Tensor } from './tensor.js';

/** What the header says of one tensor. */
export interface TensorInfo {
  dtype: DType;
  shape: readonly number[];
}

/** An open file of tensors; `close()` or `using` lets go of it. */
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
   * than 0 and 1 may stand there). Writing to it changes neither the file nor what later calls see. It stays valid
   * after `close()`; disposing of it lets go of the pages. @throws CheckpointError when there is no such tensor, DisposedError after `close()`.
   */
  tensor(name: string): Tensor;
  /** Closes the file. */
  close(): void;
}

/**
 * Opens a safetensors file. Only the header is read; the whole of it is checked.
 * @throws CheckpointError that names the file and what is wrong when it cannot be read or is malformed.
 */
export function openSafetensors(path: string): SafetensorsFile {
  let file: number | undefined;
  const close = (): void => {
    if (file !== undefined) closeSync(file);
    file = undefined;
  };
  try {
    file = openSync(path, 'r');
    return { ...opened(path, file, () => file !== undefined), close, [Symbol.dispose]: close };
  } catch (error) {
    close();
    if (error instanceof CheckpointError) throw error;
    throw new CheckpointError(`Cannot open ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function opened(
  path: string,
  file: number,
  isOpen: () => boolean,
): Omit<SafetensorsFile, 'close' | typeof Symbol.dispose> {
  const { entries, metadata, dataStart } = readHeader(path, file);
  const entryOf = (name: string): TensorEntry => {
    const entry = entries.get(name);
    if (entry) return entry;
    const some = [...entries.keys()].slice(0, 3).join(', ');
    throw new CheckpointError(
      `${path} has no tensor "${name}"; it has ${entries.size}: ${some}${entries.size > 3 ? ', …' : ''}`,
    );
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
      const { dtype, shape, begin } = entryOf(name);
      if (!isOpen()) throw new DisposedError(`${path} was closed: read "${name}" before close().`);
      const mapped = (as: DType): Tensor => new Tensor(native.mapTensor(file, dataStart + begin, as, shape));
      if (dtype !== 'bool') return mapped(dtype);
      using stored = mapped('uint8');
      return stored.ne(0);
    },
  };
}
