// Writes zip files as torch does, byte for byte: stored entries, data on 64-byte boundaries behind an "FB" extra field,
// sizes in the central directory and behind the data, always a zip64 directory. Streams: nothing but the list of
// entries is held. Sources: PKWARE's APPNOTE.TXT 6.3; caffe2/serialize/inline_container.cc of PyTorch for the padding.
import { crc32 } from './byte-source.js';

const alignment = 64;
const limit32 = 0xffffffff;

interface WrittenEntry {
  readonly name: Buffer;
  readonly header: number;
  readonly size: number;
  readonly crc32: number;
}

/** Takes bytes in order. */
export type Sink = (bytes: Uint8Array) => void;

export class ZipWriter {
  readonly #sink: Sink;
  readonly #entries: WrittenEntry[] = [];
  #position: number;

  /** @param start byte of the file at which the sink stands */
  constructor(sink: Sink, start = 0) {
    this.#sink = sink;
    this.#position = start;
  }

  /**
   * One entry of exactly `size` bytes, which `write` hands over in pieces.
   * @throws RangeError when it hands over more or less
   */
  entry(name: string, size: number, write: (sink: Sink) => void): void {
    const bytes = Buffer.from(name, 'utf8');
    const header = this.#position;
    this.#put(localHeader(bytes, header, size));
    let crc = 0;
    let written = 0;
    write((part) => {
      crc = crc32(part, crc);
      written += part.length;
      this.#put(part);
    });
    if (written !== size) throw new RangeError(`The entry ${name} got ${written} bytes, expected ${size}.`);
    this.#put(dataDescriptor(crc, size));
    this.#entries.push({ name: bytes, header, size, crc32: crc });
  }

  /** The directory; nothing may follow. */
  finish(): void {
    const start = this.#position;
    for (const entry of this.#entries) this.#put(centralHeader(entry));
    this.#put(endRecords(this.#entries.length, start, this.#position - start));
  }

  #put(bytes: Uint8Array): void {
    this.#sink(bytes);
    this.#position += bytes.length;
  }
}

/** Flags: sizes follow the data; the name is UTF-8. */
const flags = 0x0808;

function localHeader(name: Buffer, position: number, size: number): Buffer {
  const large = zip64Field(size, size, position);
  const start = position + 30 + name.length + large.length + 4;
  const padding = (alignment - (start % alignment)) % alignment;
  const header = Buffer.alloc(30 + name.length + large.length + 4 + padding, 'Z');
  header.fill(0, 0, 30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(flags, 6);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(large.length + 4 + padding, 28);
  name.copy(header, 30);
  large.copy(header, 30 + name.length);
  header.write('FB', 30 + name.length + large.length, 'latin1');
  header.writeUInt16LE(padding, 30 + name.length + large.length + 2);
  return header;
}

function dataDescriptor(crc: number, size: number): Buffer {
  const isLarge = size >= limit32;
  const bytes = Buffer.alloc(isLarge ? 24 : 16);
  bytes.writeUInt32LE(0x08074b50, 0);
  bytes.writeUInt32LE(crc, 4);
  if (isLarge) {
    bytes.writeBigUInt64LE(BigInt(size), 8);
    bytes.writeBigUInt64LE(BigInt(size), 16);
  } else {
    bytes.writeUInt32LE(size, 8);
    bytes.writeUInt32LE(size, 12);
  }
  return bytes;
}

/** The extra field with those numbers that do not fit 32 bits, empty when all do. */
function zip64Field(size: number, stored: number, position: number): Buffer {
  const large = [size, stored, position].filter((value) => value >= limit32);
  if (large.length === 0) return Buffer.alloc(0);
  const field = Buffer.alloc(4 + 8 * large.length);
  field.writeUInt16LE(1, 0);
  field.writeUInt16LE(8 * large.length, 2);
  for (const [index, value] of large.entries()) field.writeBigUInt64LE(BigInt(value), 4 + 8 * index);
  return field;
}

function centralHeader({ name, header, size, crc32: crc }: WrittenEntry): Buffer {
  const large = zip64Field(size, size, header);
  const bytes = Buffer.alloc(46 + name.length + large.length);
  bytes.writeUInt32LE(0x02014b50, 0);
  bytes.writeUInt16LE(flags, 8);
  bytes.writeUInt32LE(crc, 16);
  bytes.writeUInt32LE(Math.min(size, limit32), 20);
  bytes.writeUInt32LE(Math.min(size, limit32), 24);
  bytes.writeUInt16LE(name.length, 28);
  bytes.writeUInt16LE(large.length, 30);
  bytes.writeUInt32LE(Math.min(header, limit32), 42);
  name.copy(bytes, 46);
  large.copy(bytes, 46 + name.length);
  return bytes;
}

function endRecords(count: number, start: number, length: number): Buffer {
  const bytes = Buffer.alloc(56 + 20 + 22);
  bytes.writeUInt32LE(0x06064b50, 0);
  bytes.writeBigUInt64LE(44n, 4); // bytes of this record that follow
  bytes.writeUInt16LE(0x031e, 12); // made by version 3.0 on Unix
  bytes.writeUInt16LE(45, 14); // needs version 4.5: zip64
  bytes.writeBigUInt64LE(BigInt(count), 24);
  bytes.writeBigUInt64LE(BigInt(count), 32);
  bytes.writeBigUInt64LE(BigInt(length), 40);
  bytes.writeBigUInt64LE(BigInt(start), 48);
  bytes.writeUInt32LE(0x07064b50, 56);
  bytes.writeBigUInt64LE(BigInt(start + length), 64);
  bytes.writeUInt32LE(1, 72);
  bytes.writeUInt32LE(0x06054b50, 76);
  bytes.writeUInt16LE(Math.min(count, 0xffff), 84);
  bytes.writeUInt16LE(Math.min(count, 0xffff), 86);
  bytes.writeUInt32LE(Math.min(length, limit32), 88);
  bytes.writeUInt32LE(Math.min(start, limit32), 92);
  return bytes;
}
