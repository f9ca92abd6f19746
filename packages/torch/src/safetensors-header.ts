// The header of a safetensors file: parsed and checked before any of it is believed. The rules are those of the
// reference reader: at most 100 MB, tensors back to back from the first byte of data to the last.
import { fstatSync, readSync } from 'node:fs';
import { bytesPerElement } from './create.js';
import { CheckpointError } from './errors.js';
import type { DType } from './native.js';

/** One tensor of the header. Offsets are in bytes from the start of the data. */
export interface TensorEntry {
  dtype: DType;
  shape: readonly number[];
  begin: number;
  end: number;
}

export interface SafetensorsHeader {
  /** By name, in the order of the header. */
  entries: ReadonlyMap<string, TensorEntry>;
  metadata: Readonly<Record<string, string>>;
  /** Bytes before the data. */
  dataStart: number;
}

const maxHeaderBytes = 100_000_000;

const dtypeOf = new Map<unknown, DType>([
  ['F64', 'float64'],
  ['F32', 'float32'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I64', 'int64'],
  ['I32', 'int32'],
  ['I16', 'int16'],
  ['I8', 'int8'],
  ['U8', 'uint8'],
  ['BOOL', 'bool'],
]);
const nameOf = new Map([...dtypeOf].map(([name, dtype]) => [dtype, name as string]));

/** A dtype as the format writes it: "F32", "BF16", … */
export function safetensorsName(dtype: DType): string {
  return nameOf.get(dtype)!;
}

/**
 * Reads the header of an open file.
 * @throws CheckpointError naming `path` and the first rule that is broken.
 */
export function readHeader(path: string, file: number): SafetensorsHeader {
  const fail = (what: string): never => {
    throw new CheckpointError(`${path} is not a valid safetensors file: ${what}.`);
  };
  const status = fstatSync(file);
  if (!status.isFile()) fail('it is not a regular file');
  const { size } = status;
  if (size < 8) fail(`it has ${size} bytes, the header's length alone takes 8`);
  const prefix = readBytes(file, 0, 8, fail);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > maxHeaderBytes)
    fail(`its header claims ${length} bytes, at most ${maxHeaderBytes} are allowed (is it another format?)`);
  const dataStart = 8 + Number(length);
  if (dataStart > size) fail(`its header takes ${length} bytes, but only ${size - 8} follow (truncated?)`);

  const { names, header } = parseJson(readBytes(file, 8, Number(length), fail), fail);
  const entries = new Map<string, TensorEntry>();
  let metadata: Readonly<Record<string, string>> = {};
  for (const name of names) {
    if (name === '__metadata__') metadata = checkMetadata(header[name], fail);
    else entries.set(name, checkEntry(name, header[name], fail));
  }
  checkLayout(entries, size - dataStart, fail);
  return { entries, metadata, dataStart };
}

function readBytes(file: number, position: number, length: number, fail: Fail): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let read = 0; read < length; ) {
    const count = readSync(file, bytes, read, length - read, position + read);
    if (count === 0) fail('it shrank while it was read');
    read += count;
  }
  return bytes;
}

type Fail = (what: string) => never;
type JsonObject = Record<string, unknown>;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parseJson(bytes: Uint8Array, fail: Fail): { names: string[]; header: JsonObject } {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    return fail(`its header is not JSON in UTF-8: ${(error as Error).message}`);
  }
  if (!isObject(header)) return fail('its header is not a JSON object');
  return { names: keysOf(text, fail), header };
}

/**
 * The outermost keys of valid JSON in their written order. JSON.parse alone would keep the last of two equal keys
 * without a word and move names that look like numbers to the front. A loop, as a regular expression runs out of
 * stack on strings of megabytes.
 */
function keysOf(json: string, fail: Fail): string[] {
  const open: Set<string>[] = []; // keys seen so far in each open object or array
  let outermost = new Set<string>();
  for (let at = 0; at < json.length; at++) {
    const character = json[at]!;
    if (character === '{' || character === '[') open.push(new Set());
    else if (character === '}' || character === ']') outermost = open.pop()!;
    if (character !== '"') continue;
    const end = endOfString(json, at);
    let next = end;
    while (json[next]! <= ' ') next++;
    if (json[next] === ':') {
      const name = JSON.parse(json.slice(at, end)) as string;
      if (open.at(-1)!.has(name)) fail(`its header has the name ${JSON.stringify(name)} twice`);
      open.at(-1)!.add(name);
    }
    at = end - 1;
  }
  return [...outermost];
}

/** The position after the string's closing quote. */
function endOfString(json: string, start: number): number {
  let at = start + 1;
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at + 1;
}

function checkMetadata(value: unknown, fail: Fail): Readonly<Record<string, string>> {
  if (!isObject(value) || Object.values(value).some((item) => typeof item !== 'string'))
    return fail('__metadata__ must be an object of strings');
  return value as Record<string, string>;
}

function checkEntry(name: string, value: unknown, fail: Fail): TensorEntry {
  const wrong = (what: string): never => fail(`tensor ${JSON.stringify(name)} ${what}`);
  if (!isObject(value)) return wrong('is not described by an object');
  const dtype = dtypeOf.get(value.dtype);
  if (!dtype)
    return wrong(`has dtype ${JSON.stringify(value.dtype)}; known are ${[...dtypeOf.keys()].join(', ')}`);
  const { shape, data_offsets: offsets } = value;
  if (!isSizes(shape)) return wrong(`has shape ${JSON.stringify(shape)}, expected sizes of 0 or more`);
  if (!isSizes(offsets) || offsets.length !== 2)
    return wrong(`has data_offsets ${JSON.stringify(offsets)}, expected [begin, end] of 0 or more`);
  const [begin, end] = offsets as [number, number];
  if (end < begin) return wrong(`ends at byte ${end} before its begin ${begin}`);
  let bytes = bytesPerElement[dtype];
  for (const size of shape) bytes *= size;
  if (!Number.isSafeInteger(bytes) || bytes !== end - begin)
    return wrong(
      `has shape [${shape}] of ${value.dtype}, which takes ${bytes} bytes, but its data_offsets span ${end - begin}`,
    );
  return { dtype, shape, begin, end };
}

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

function checkLayout(entries: ReadonlyMap<string, TensorEntry>, dataBytes: number, fail: Fail): void {
  const inOrder = [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const [name, { begin, end }] of inOrder) {
    if (begin !== position)
      fail(
        `tensor ${JSON.stringify(name)} begins at byte ${begin} of the data, which ` +
          `${begin < position ? 'overlaps another that ends' : 'leaves a gap after the one that ends'} at ${position}`,
      );
    position = end;
  }
  if (position > dataBytes)
    fail(`the data is truncated: the header describes ${position} bytes, the file has ${dataBytes}`);
  if (position < dataBytes)
    fail(
      `${dataBytes - position} bytes follow the data: the header describes ${position}, the file has ${dataBytes}`,
    );
}
