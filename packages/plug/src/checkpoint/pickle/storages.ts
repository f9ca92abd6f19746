// Storages of a checkpoint and the tensors over them: bounds are checked against the container before anything is
// allocated, and elements are read through one small buffer straight into the tensor.
import { aten, bytesPerElement, empty, scope, type Tensor, tensor } from '@openplug/torch';
import { CheckpointError } from '../../errors.js';
import { type ByteSource, crc32 } from './byte-source.js';
import { type StorageReference, shown, type TensorView } from './values.js';

/** A storage's bytes in the file. */
export interface StoredBytes {
  readonly start: number;
  readonly size: number;
  /** Absent where the container has no checksums. */
  readonly crc32?: number;
}

/** What a container gives: bytes by storage key. */
export interface StorageTable {
  readonly source: ByteSource;
  /** @throws CheckpointError when there is no such storage or it has another size */
  find(storage: StorageReference): StoredBytes;
}

/** Elements that a view may repeat (stride 0) beyond its storage: enough for masks, too few to fill the memory. */
const mostRepeated = 1 << 20;

/** Bytes read at a time. */
const chunkBytes = 8 << 20;
let chunk: Uint8Array | undefined;

/**
 * Checks that a view lies in its storage.
 * @param name the tensor's, for the error
 * @throws CheckpointError
 */
export function checkView(table: StorageTable, name: string, view: TensorView): void {
  const { size } = table.find(view.storage);
  const width = bytesPerElement[view.dtype];
  // An empty dimension counts as 1, so that the others stay within what libtorch can multiply.
  const count = view.shape.reduce((product, length) => product * Math.max(length, 1), 1);
  const extent = extentOf(view);
  const problem =
    (view.offset + extent) * width > size
      ? `reaches to byte ${(view.offset + extent) * width} of a storage of ${size}`
      : !(count <= Math.max(size / width, mostRepeated))
        ? `repeats the ${size} bytes of its storage to ${count} elements`
        : undefined;
  if (problem)
    throw new CheckpointError(
      `${table.source.path}: tensor ${shown(name)} (shape [${view.shape}], strides [${view.strides}], offset ` +
        `${view.offset}, made at byte ${view.position} of the pickle) ${problem}.`,
    );
}

/** Elements from the first to the last that the view touches. */
function extentOf({ shape, strides }: TensorView): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((last, length, index) => last + (length - 1) * strides[index]!, 0) + 1;
}

/** The strides of a row-major tensor count from the last dimension; those of dimensions of size 1 do not matter. */
function isContiguous({ shape, strides }: TensorView): boolean {
  let expected = 1;
  for (let index = shape.length - 1; index >= 0; index--) {
    if (shape[index] !== 1 && strides[index] !== expected) return false;
    expected *= shape[index]!;
  }
  return true;
}

/** Reads tensors of one container; with `verify`, each storage's checksum is compared at its first use. */
export class StorageReader {
  readonly #table: StorageTable;
  readonly #verify: boolean;
  readonly #verified = new Set<string>();

  constructor(table: StorageTable, verify: boolean) {
    this.#table = table;
    this.#verify = verify;
  }

  /** The view as a row-major tensor of its own. It was checked before. @throws CheckpointError */
  read(name: string, view: TensorView): Tensor {
    const bytes = this.#table.find(view.storage);
    return scope(() => {
      const extent = extentOf(view);
      // Bool is read as bytes, of which any but 0 means true.
      const dtype = view.dtype === 'bool' ? 'uint8' : view.dtype;
      const width = bytesPerElement[dtype];
      const flat = empty([extent], dtype);
      const isWhole = view.offset === 0 && extent * width === bytes.size;
      const verify = this.#verify && bytes.crc32 !== undefined && !this.#verified.has(view.storage.key);
      if (verify && !isWhole)
        this.#compare(
          name,
          bytes,
          this.#pass(bytes, 0, bytes.size, 1, () => {}),
        );
      const crc = this.#pass(
        bytes,
        view.offset * width,
        extent * width,
        width,
        (part, first) => {
          using elements = tensor(part, { dtype, share: true });
          using place = flat.narrow(0, first, part.length / width);
          place.copy_(elements);
        },
        verify && isWhole,
      );
      if (verify && isWhole) this.#compare(name, bytes, crc);
      if (verify) this.#verified.add(view.storage.key);
      const shaped =
        extent === 0 || isContiguous(view)
          ? flat.reshape(...view.shape)
          : aten.as_strided(flat, view.shape, view.strides, 0).clone().contiguous();
      return view.dtype === 'bool' ? shaped.ne(0) : shaped;
    });
  }

  /** Goes over a part of a storage in chunks. @returns the checksum of the part where it is asked for */
  #pass(
    bytes: StoredBytes,
    offset: number,
    length: number,
    width: number,
    use: (part: Uint8Array, firstElement: number) => void,
    sum = true,
  ): number {
    chunk ??= new Uint8Array(chunkBytes);
    let crc = 0;
    for (let done = 0; done < length; done += chunkBytes) {
      const part = chunk.subarray(0, Math.min(chunkBytes, length - done));
      this.#table.source.read(bytes.start + offset + done, part);
      if (sum) crc = crc32(part, crc);
      use(part, done / width);
    }
    return crc;
  }

  #compare(name: string, bytes: StoredBytes, crc: number): void {
    if (crc !== bytes.crc32)
      throw new CheckpointError(
        `${this.#table.source.path}: the storage of tensor ${shown(name)} (bytes ${bytes.start} to ` +
          `${bytes.start + bytes.size}) has the checksum ${hexadecimal(crc)}, expected ${hexadecimal(bytes.crc32!)}: ` +
          'the file is damaged. Download it again.',
      );
  }
}

const hexadecimal = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
