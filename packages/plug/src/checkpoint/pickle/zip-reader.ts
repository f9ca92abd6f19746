// The directory of a zip file as torch writes it: stored entries in one folder, zip64. Zip libraries unpack into
// memory or streams and accept what this format never holds; here an entry is a range of the file and everything
// unusual is refused. Source: PKWARE's APPNOTE.TXT 6.3.
import { CheckpointError } from '../../errors.js';
import { type ByteSource, bytesAt } from './byte-source.js';
import { shown } from './values.js';

export interface ZipEntry {
  readonly name: string;
  /** Where the data starts in the file, and its length in bytes. */
  readonly start: number;
  readonly size: number;
  readonly crc32: number;
}

const endLength = 22;
const longestComment = 0xffff;
const locatorLength = 20;
const end64Length = 56;
const centralLength = 46;
const localLength = 30;
/** A checkpoint has an entry for each tensor. */
const mostEntries = 100_000;
const largestDirectory = 64 << 20;
const sentinel16 = 0xffff;
const sentinel32 = 0xffffffff;

interface Directory {
  entries: number;
  start: number;
  length: number;
}

interface CentralEntry extends ZipEntry {
  /** Where the local header starts. `start` is known once that was read. */
  readonly header: number;
}

/**
 * All entries by name, each checked against its local header.
 * @throws CheckpointError for anything but plain stored entries that lie in the file one after another
 */
export function readZipDirectory(source: ByteSource): Map<string, ZipEntry> {
  const refuse = (problem: string): never => {
    throw new CheckpointError(`${source.path}: ${problem}.`);
  };
  const directory = findDirectory(source, refuse);
  const central = parseCentral(bytesAt(source, directory.start, directory.length), directory.entries, refuse);
  const entries = new Map<string, ZipEntry>();
  let end = 0;
  let previous = '';
  for (const entry of central.sort((left, right) => left.header - right.header)) {
    if (entries.has(entry.name)) refuse(`the zip has two entries ${shown(entry.name)}`);
    if (entry.header < end) refuse(`the zip entries ${shown(previous)} and ${shown(entry.name)} overlap`);
    const start = dataStart(source, entry, directory.start, refuse);
    if (start + entry.size > directory.start)
      refuse(
        `the zip entry ${shown(entry.name)} (bytes ${start} to ${start + entry.size}) runs into the directory at ` +
          `byte ${directory.start}`,
      );
    end = start + entry.size;
    previous = entry.name;
    entries.set(entry.name, { name: entry.name, start, size: entry.size, crc32: entry.crc32 });
  }
  return entries;
}

type Refuse = (problem: string) => never;

function findDirectory(source: ByteSource, refuse: Refuse): Directory {
  const tailStart = Math.max(0, source.size - endLength - longestComment);
  const tail = Buffer.from(bytesAt(source, tailStart, source.size - tailStart));
  let at = tail.length - endLength;
  // The record is the last one; a comment behind it has exactly the stated length.
  while (
    at >= 0 &&
    !(tail.readUInt32LE(at) === 0x06054b50 && at + endLength + tail.readUInt16LE(at + 20) === tail.length)
  )
    at -= 1;
  if (at < 0)
    return refuse(
      'the zip has no directory at its end: the file is truncated, for example by a broken download',
    );
  const record = tailStart + at;
  if (tail.readUInt16LE(at + 4) !== 0 || tail.readUInt16LE(at + 6) !== 0)
    refuse('the zip is one of several disks, which is not supported');
  let directory: Directory = {
    entries: tail.readUInt16LE(at + 10),
    length: tail.readUInt32LE(at + 12),
    start: tail.readUInt32LE(at + 16),
  };
  let behind = record;
  const isLarge =
    directory.entries === sentinel16 || directory.length === sentinel32 || directory.start === sentinel32;
  const hasLocator = record >= locatorLength && signatureAt(source, record - locatorLength) === 0x07064b50;
  if (isLarge && !hasLocator) refuse('the zip needs a zip64 directory, which is missing');
  if (hasLocator) {
    const locator = Buffer.from(bytesAt(source, record - locatorLength, locatorLength));
    const position = safe(locator.readBigUInt64LE(8), 'position of the zip64 directory', refuse);
    if (position + end64Length > record - locatorLength || signatureAt(source, position) !== 0x06064b50)
      refuse('the zip64 directory is not where the file says: the file is damaged');
    const end64 = Buffer.from(bytesAt(source, position, end64Length));
    directory = {
      entries: safe(end64.readBigUInt64LE(32), 'number of entries', refuse),
      length: safe(end64.readBigUInt64LE(40), 'length of the directory', refuse),
      start: safe(end64.readBigUInt64LE(48), 'start of the directory', refuse),
    };
    behind = position;
  }
  if (directory.start + directory.length > behind)
    refuse(
      `the zip directory (bytes ${directory.start} to ${directory.start + directory.length}) does not fit before ` +
        `byte ${behind}: the file is damaged`,
    );
  if (directory.length > largestDirectory)
    refuse(`the zip directory has ${directory.length} bytes, more than ${largestDirectory}`);
  if (directory.entries > mostEntries)
    refuse(`the zip has ${directory.entries} entries, more than ${mostEntries}`);
  if (directory.entries * centralLength > directory.length)
    refuse(`the zip directory of ${directory.length} bytes cannot hold ${directory.entries} entries`);
  return directory;
}

function signatureAt(source: ByteSource, position: number): number {
  return Buffer.from(bytesAt(source, position, 4)).readUInt32LE(0);
}

function safe(value: bigint, what: string, refuse: Refuse): number {
  return value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : refuse(`the zip states a ${what} of ${value}`);
}

function parseCentral(bytes: Uint8Array, count: number, refuse: Refuse): CentralEntry[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries: CentralEntry[] = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + centralLength > buffer.length || buffer.readUInt32LE(at) !== 0x02014b50)
      refuse(`entry ${index} of the zip directory is damaged`);
    const nameLength = buffer.readUInt16LE(at + 28);
    const extraLength = buffer.readUInt16LE(at + 30);
    const next = at + centralLength + nameLength + extraLength + buffer.readUInt16LE(at + 32);
    if (next > buffer.length) refuse(`entry ${index} of the zip directory is damaged`);
    const name = entryName(buffer.subarray(at + centralLength, at + centralLength + nameLength), refuse);
    const extra = buffer.subarray(
      at + centralLength + nameLength,
      at + centralLength + nameLength + extraLength,
    );
    if (buffer.readUInt16LE(at + 8) & 1) refuse(`the zip entry ${shown(name)} is encrypted`);
    const method = buffer.readUInt16LE(at + 10);
    if (method !== 0)
      refuse(`the zip entry ${shown(name)} is compressed (method ${method}); torch.save never does that`);
    const disk = buffer.readUInt16LE(at + 34);
    if (disk !== 0 && disk !== sentinel16) refuse(`the zip entry ${shown(name)} lies on another disk`);
    // zip64 holds, in this order, those of the three that do not fit 32 bits.
    const large = largeFields(extra, name, refuse);
    const wide = (value: number): number =>
      value !== sentinel32
        ? value
        : safe(large() ?? BigInt(value), `size or place of ${shown(name)}`, refuse);
    const size = wide(buffer.readUInt32LE(at + 24));
    const stored = wide(buffer.readUInt32LE(at + 20));
    const header = wide(buffer.readUInt32LE(at + 42));
    if (size !== stored) refuse(`the zip entry ${shown(name)} is stored in ${stored} bytes but has ${size}`);
    entries.push({ name, start: 0, size, crc32: buffer.readUInt32LE(at + 16), header });
    at = next;
  }
  if (at !== buffer.length) refuse(`the zip directory has ${buffer.length - at} bytes more than its entries`);
  return entries;
}

/** A name that stays inside the archive: relative, in plain segments. */
function entryName(bytes: Buffer, refuse: Refuse): string {
  const name = bytes.toString('utf8');
  if (!Buffer.from(name, 'utf8').equals(bytes))
    refuse(`the zip entry ${shown(name)} has a name that is not UTF-8`);
  const segments = name.split('/');
  if (/[\\:\p{Cc}]/u.test(name) || segments.some((part) => part === '' || part === '.' || part === '..'))
    refuse(`the zip entry ${shown(name)} has a name that could lead out of the archive`);
  return name;
}

/** Gives the 8-byte numbers of the zip64 field one by one, undefined when there are no more. */
function largeFields(extra: Buffer, name: string, refuse: Refuse): () => bigint | undefined {
  let field = extra.subarray(0, 0);
  for (let at = 0; at + 4 <= extra.length; ) {
    const end = at + 4 + extra.readUInt16LE(at + 2);
    if (end > extra.length) refuse(`the zip entry ${shown(name)} has a damaged extra field`);
    if (extra.readUInt16LE(at) === 1) field = extra.subarray(at + 4, end);
    at = end;
  }
  let used = 0;
  return () => {
    if (used + 8 > field.length) return undefined;
    used += 8;
    return field.readBigUInt64LE(used - 8);
  };
}

/** Where the data behind the local header starts. The header must tell the same as the directory. */
function dataStart(source: ByteSource, entry: CentralEntry, limit: number, refuse: Refuse): number {
  const nameBytes = Buffer.from(entry.name, 'utf8');
  const fixed = localLength + nameBytes.length;
  if (entry.header + fixed > limit) refuse(`the zip entry ${shown(entry.name)} starts behind the data`);
  const local = Buffer.from(bytesAt(source, entry.header, fixed));
  if (local.readUInt32LE(0) !== 0x04034b50)
    refuse(`the zip entry ${shown(entry.name)} is not at byte ${entry.header}, where the directory says`);
  if (local.readUInt16LE(26) !== nameBytes.length || !local.subarray(localLength).equals(nameBytes))
    refuse(
      `the zip entry at byte ${entry.header} has another name than ${shown(entry.name)}, which the directory gives`,
    );
  if (local.readUInt16LE(8) !== 0)
    refuse(`the zip entry ${shown(entry.name)} is compressed; torch.save never does that`);
  return entry.header + fixed + local.readUInt16LE(28);
}
