// Zip directories: exact places of entries, and clear refusals of everything that torch does not write.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CheckpointError } from '../../errors.js';
import { type ByteSource, crc32, memorySource, tableCrc32 } from './byte-source.js';
import { zipOf } from './fuzzing/assemble.js';
import { readZipDirectory } from './zip-reader.js';
import { ZipWriter } from './zip-writer.js';

const entries = [
  ['a/data.pkl', Buffer.from('pickle')],
  ['a/data/0', Buffer.alloc(100, 7)],
  ['a/data/中', Buffer.alloc(0)],
] as const;
const valid = zipOf(entries);
const directoryAt = valid.indexOf('PK\x01\x02', 0, 'latin1');

function refused(pattern: RegExp, bytes: Uint8Array): void {
  assert.throws(
    () => readZipDirectory(memorySource('x.pt', bytes)),
    (error: Error) => {
      assert.ok(error instanceof CheckpointError, error.stack);
      assert.match(error.message, pattern);
      return true;
    },
  );
}

/** The valid zip after a change. */
function changed(change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(valid);
  change(bytes);
  return bytes;
}

/** Start of the n-th central header. */
function central(index: number): number {
  let at = directoryAt;
  for (let skip = index; skip > 0; skip--) at = valid.indexOf('PK\x01\x02', at + 4, 'latin1');
  return at;
}

describe('zip directory', () => {
  it('gives place, size and checksum of each entry, aligned', () => {
    const read = readZipDirectory(memorySource('x.pt', valid));
    assert.deepEqual(
      [...read.keys()],
      entries.map(([name]) => name),
    );
    for (const [name, data] of entries) {
      const { start, size, crc32: crc } = read.get(name)!;
      assert.equal(start % 64, 0);
      assert.ok(valid.subarray(start, start + size).equals(data));
      assert.equal(crc, crc32(data));
    }
  });

  it('reads sizes and places past 4 GB', () => {
    const start = 5_000_000_000;
    const parts: Uint8Array[] = [];
    const writer = new ZipWriter((bytes) => parts.push(Buffer.from(bytes)), start);
    writer.entry('a/data.pkl', 6, (write) => write(Buffer.from('pickle')));
    writer.finish();
    const tail = Buffer.concat(parts);
    const sparse: ByteSource = {
      path: 'large.pt',
      size: start + tail.length,
      read: (position, target) => {
        target.fill(0);
        const from = position - start;
        tail.copy(target, Math.max(0, -from), Math.max(0, from), Math.max(0, from + target.length));
      },
      [Symbol.dispose]() {},
    };
    const entry = readZipDirectory(sparse).get('a/data.pkl')!;
    assert.ok(entry.start > start);
    const data = Buffer.alloc(6);
    sparse.read(entry.start, data);
    assert.equal(data.toString(), 'pickle');
  });

  it('refuses names that lead elsewhere, and one name twice', () => {
    for (const name of ['../x', '/x', 'a/../../x', 'a\\x', 'C:/x', 'a//x', 'a/./x', '', 'a/\0'])
      refused(/name that could lead out/, zipOf([...entries, [name, Buffer.alloc(1)]]));
    refused(/two entries "a\/data\/0"/, zipOf([...entries, ['a/data/0', Buffer.alloc(1)]]));
  });

  it('refuses compressed, encrypted and overlapping entries', () => {
    refused(
      /"a\/data\.pkl" is compressed \(method 8\)/,
      changed((bytes) => bytes.writeUInt16LE(8, central(0) + 10)),
    );
    refused(
      /"a\/data\.pkl" is compressed/,
      changed((bytes) => bytes.writeUInt16LE(8, 8)),
    );
    refused(
      /encrypted/,
      changed((bytes) => bytes.writeUInt16LE(1, central(0) + 8)),
    );
    refused(
      /"a\/data\.pkl" and "a\/data\/0" overlap/,
      changed((bytes) => {
        bytes.writeUInt32LE(100, central(0) + 20);
        bytes.writeUInt32LE(100, central(0) + 24);
      }),
    );
    refused(
      /stored in 6 bytes but has 100\./,
      changed((bytes) => bytes.writeUInt32LE(100, central(0) + 24)),
    );
    refused(
      /runs into the directory/,
      changed((bytes) => {
        bytes.writeUInt32LE(1000, central(2) + 20);
        bytes.writeUInt32LE(1000, central(2) + 24);
      }),
    );
    refused(
      /another name than "a\/data\.pkl"/,
      changed((bytes) => bytes.write('b', 30)),
    );
    refused(
      /not at byte 1,/,
      changed((bytes) => bytes.writeUInt32LE(1, central(0) + 42)),
    );
  });

  it('refuses a file that was cut anywhere', () => {
    for (let length = 0; length < valid.length; length++)
      refused(/truncated|damaged|does not fit|zip64/, valid.subarray(0, length));
    refused(/broken download/, valid.subarray(0, valid.length - 1));
  });

  it('refuses end records that do not fit', () => {
    const end64 = valid.length - 98;
    refused(
      /1000000000 entries, more than 100000/,
      changed((bytes) => bytes.writeBigUInt64LE(1_000_000_000n, end64 + 32)),
    );
    refused(
      /cannot hold 1000/,
      changed((bytes) => bytes.writeBigUInt64LE(1000n, end64 + 32)),
    );
    refused(
      /number of entries of \d+/,
      changed((bytes) => bytes.writeBigUInt64LE(2n ** 63n, end64 + 32)),
    );
    refused(
      /does not fit before/,
      changed((bytes) => bytes.writeBigUInt64LE(2n ** 40n, end64 + 40)),
    );
    refused(
      /bytes more than its entries/,
      changed((bytes) => bytes.writeBigUInt64LE(2n, end64 + 32)),
    );
    refused(
      /not where the file says/,
      changed((bytes) => bytes.writeBigUInt64LE(3n, end64 + 56 + 8)),
    );
    refused(
      /several disks/,
      changed((bytes) => bytes.writeUInt16LE(1, bytes.length - 18)),
    );
  });

  it('has the checksum of zip files, with and without the one of Node', () => {
    const bytes = Buffer.from('123456789');
    for (const sum of [crc32, tableCrc32]) {
      assert.equal(sum(bytes), 0xcbf43926);
      assert.equal(sum(bytes.subarray(4), sum(bytes.subarray(0, 4))), 0xcbf43926);
    }
  });
});
