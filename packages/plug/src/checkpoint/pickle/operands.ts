// What stands behind an opcode: lengths, texts, and numbers in their binary and decimal forms. What is announced must lie
// within the pickle. Source of the format: CPython's Lib/pickletools.py.
import type { Refuse } from './globals.js';
import { shown } from './values.js';

/** Of an integer; random generators' states are the largest seen. */
const mostIntegerBytes = 1024;

const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Moves through the bytes of a pickle, and refuses what is not of the form that was asked for. */
export class Operands {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #refuse: Refuse;
  #position: number;

  constructor(bytes: Uint8Array, start: number, refuse: Refuse) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#refuse = refuse;
    this.#position = start;
  }

  get position(): number {
    return this.#position;
  }

  /** Moves past `count` bytes and gives where they start. */
  #take(count: number): number {
    const start = this.#position;
    if (count > this.#bytes.length - start)
      this.#refuse(
        start >= this.#bytes.length
          ? 'the pickle ends in the middle: the file is truncated or damaged'
          : `${count} bytes are announced, only ${this.#bytes.length - start} follow`,
      );
    this.#position = start + count;
    return start;
  }

  byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  uint16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  /** Big-endian, unlike all else. */
  float64(): number {
    return this.#view.getFloat64(this.#take(8), false);
  }

  /** A length of 4 or 8 bytes, which must lie within the pickle. */
  length(width: 4 | 8): number {
    const start = this.#take(width);
    const length =
      width === 4 ? this.#view.getUint32(start, true) : Number(this.#view.getBigUint64(start, true));
    const left = this.#bytes.length - this.#position;
    if (length > left) this.#refuse(`${length} bytes are announced, only ${left} follow`);
    return length;
  }

  text(length: number): string {
    const start = this.#take(length);
    try {
      return strictText.decode(this.#bytes.subarray(start, start + length));
    } catch {
      return this.#refuse('a text is not valid UTF-8');
    }
  }

  /** Python 2 did not tell text from bytes. */
  python2Text(length: number): string | Uint8Array {
    const start = this.#take(length);
    const bytes = this.#bytes.subarray(start, start + length);
    try {
      return strictText.decode(bytes);
    } catch {
      return bytes.slice();
    }
  }

  copy(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.slice(start, start + length);
  }

  /** The rest of the line, as Latin-1. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#position);
    if (end < 0) this.#refuse('a line does not end: the file is truncated or damaged');
    const start = this.#take(end + 1 - this.#position);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, end - start).toString('latin1');
  }

  /** Little-endian two's complement. */
  integer(length: number): number | bigint {
    if (length > mostIntegerBytes) this.#refuse(`an integer of ${length} bytes is too long`);
    const start = this.#take(length);
    if (length === 0) return 0;
    const hex = Buffer.from(this.#bytes.subarray(start, start + length))
      .reverse()
      .toString('hex');
    return narrow(BigInt.asIntN(length * 8, BigInt(`0x${hex}`)));
  }

  /** Of Python 2, which wrote True and False as 01 and 00 where `withBooleans`. */
  decimal(withBooleans: boolean): number | bigint | boolean {
    const line = this.line();
    if (withBooleans && (line === '00' || line === '01')) return line === '01';
    if (line.length > 2 * mostIntegerBytes || !/^-?\d+L?$/.test(line))
      this.#refuse(`${shown(line)} is not an integer`);
    return narrow(BigInt(line.replace('L', '')));
  }

  decimalFraction(): number {
    const line = this.line();
    const special = { inf: Infinity, '-inf': -Infinity, nan: NaN }[line];
    if (special !== undefined) return special;
    if (line.length > 400 || !/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(line))
      this.#refuse(`${shown(line)} is not a number`);
    return Number(line);
  }

  /** A line of text with the escapes of Python's raw Unicode. */
  escapedText(): string {
    return unescapeUnicode(this.line());
  }

  /** A text in quotes, as Python 2 wrote it. */
  quotedText(): string {
    const match = /^(['"])(.*)\1$/s.exec(this.line());
    if (!match) this.#refuse('a text is not in quotes');
    return unescapeString(match[2]!);
  }

  memoPlace(): number {
    const line = this.line();
    if (!/^\d{1,9}$/.test(line)) this.#refuse(`${shown(line)} is not a place in the memo`);
    return Number(line);
  }
}

/** A number where it is exact. */
function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function unescapeUnicode(line: string): string {
  return line.replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (whole, short, long) => {
    const point = Number.parseInt(short ?? long, 16);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}

const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', '0': '\0' };

function unescapeString(text: string): string {
  return text.replace(/\\(x[0-9a-fA-F]{2}|.)/gs, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (escapes[code] ?? code),
  );
}
