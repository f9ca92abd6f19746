import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { CheckpointError, DisposedError, type DType, liveTensorCount, type Tensor, tensor } from './index.js';
import { openSafetensors } from './safetensors.js';
import { SafetensorsWriter, writeSafetensors } from './safetensors-writer.js';

const folder = mkdtempSync(join(tmpdir(), 'openplug-safetensors-'));
after(() => rmSync(folder, { recursive: true }));
const shared = process.env.OPENPLUG_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));

/** A file made by hand, so that the reader is not checked against our own writer. */
function file(header: string | object, data: Uint8Array = new Uint8Array(0), length?: bigint): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(json.length));
  const path = join(folder, 'hand-made.safetensors');
  writeFileSync(path, Buffer.concat([prefix, json, data]));
  return path;
}

const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

describe('safetensors: writing and reading', () => {
  const words: Record<DType, [DType, Uint8Array, number]> = {
    float64: ['float64', new Uint8Array(new Float64Array([1.5, -0, Number.NaN, Infinity]).buffer), 4],
    float32: ['float32', new Uint8Array(new Float32Array([1.5, -2.25e-30, 3]).buffer), 3],
    int64: ['int64', new Uint8Array(new BigInt64Array([2n ** 62n + 1n, -5n]).buffer), 2],
    int32: ['int32', new Uint8Array(new Int32Array([-(2 ** 31), 7]).buffer), 2],
    // every 16-bit word, NaN payloads and subnormals included, must come back as it was
    bfloat16: ['bfloat16', new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer), 65536],
    float16: ['float16', new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer), 65536],
    int16: ['int16', new Uint8Array(new Int16Array([-32768, 5]).buffer), 2],
    int8: ['int8', new Uint8Array([128, 127, 0]), 3],
    uint8: ['uint8', new Uint8Array([255, 1]), 2],
    bool: ['bool', new Uint8Array([0, 1, 1]), 3],
  };

  it('keeps every dtype bit for bit', () => {
    const path = join(folder, 'dtypes.safetensors');
    const tensors = new Map(
      Object.entries(words).map(([name, [dtype, bytes, length]]) => [
        name,
        tensor(bytes, { dtype, shape: [length] }),
      ]),
    );
    writeSafetensors(path, tensors, { note: '春江潮水 "quoted"' });
    using read = openSafetensors(path);
    assert.deepEqual(read.names(), Object.keys(words));
    assert.deepEqual(read.metadata, { note: '春江潮水 "quoted"' });
    for (const [name, [dtype, bytes, length]] of Object.entries(words)) {
      assert.deepEqual(read.info(name), { dtype, shape: [length] });
      const back = join(folder, 'one.safetensors');
      using one = read.tensor(name);
      assert.equal(one.dtype, dtype);
      writeSafetensors(back, new Map([['x', one]]));
      assert.deepEqual(new Uint8Array(readFileSync(back).subarray(-bytes.length)), bytes, name);
    }
  });

  it('writes exactly the documented bytes, deterministically', () => {
    const path = join(folder, 'bytes.safetensors');
    using x = tensor([1, 2], { shape: [2, 1] });
    writeSafetensors(path, new Map([['x', x]]), { format: 'pt' });
    const json =
      '{"__metadata__":{"format":"pt"},"x":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}'.padEnd(120);
    const expected = Buffer.concat([Buffer.from([120, 0, 0, 0, 0, 0, 0, 0]), Buffer.from(json)]);
    const written = readFileSync(path);
    assert.deepEqual(written.subarray(0, -8).toString('latin1'), expected.toString('latin1'));
    assert.deepEqual(new Float32Array(new Uint8Array(written.subarray(-8)).buffer), new Float32Array([1, 2]));
    const checksum = writeSafetensors(path, new Map([['x', x]]), { format: 'pt' });
    assert.deepEqual(readFileSync(path), written);
    assert.equal(checksum, createHash('sha256').update(written).digest('hex'));
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('.tmp-')),
      [],
    );
  });

  it('writes views, scalars, empty tensors and tensors larger than its buffer', () => {
    const path = join(folder, 'odd.safetensors');
    using base = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] });
    using transposed = base.transpose(0, 1);
    using scalar = tensor([7], { shape: [] });
    using empty = tensor([], { shape: [0, 5] });
    const numbers = Int32Array.from({ length: 5_000_000 }, (_, i) => i ^ 0x5bd1e995);
    using large = tensor(numbers, { share: true });
    writeSafetensors(path, new Map(Object.entries({ transposed, scalar, empty, large })));
    using read = openSafetensors(path);
    assert.deepEqual(read.tensor('transposed').toArray(), [1, 4, 2, 5, 3, 6]);
    assert.deepEqual(read.tensor('transposed').shape, [3, 2]);
    assert.deepEqual(read.info('scalar'), { dtype: 'float32', shape: [] });
    assert.equal(read.tensor('scalar').item(), 7);
    assert.deepEqual(read.tensor('empty').shape, [0, 5]);
    assert.deepEqual(read.tensor('large').toTypedArray(), numbers);
  });

  it('keeps names that JSON objects would reorder or swallow', () => {
    const path = join(folder, 'names.safetensors');
    const names = ['b', '10', '9', '__proto__', '层.权重', 'quote"\\', ''];
    writeSafetensors(path, new Map(names.map((name, index) => [name, tensor([index])])));
    const read = openSafetensors(path);
    assert.deepEqual(read.names(), names);
    names.forEach((name, index) => {
      assert.equal(read.tensor(name).item(), index);
    });
    for (const name of ['__metadata__', '\ud800'])
      assert.throws(() => writeSafetensors(path, new Map([[name, tensor([1])]])), CheckpointError);
    assert.deepEqual(openSafetensors(path).names(), names);
  });

  it('maps aligned tensors, which outlive close(), and copies the others', () => {
    const data = new Uint8Array(16);
    new DataView(data.buffer).setFloat32(0, 2.5, true);
    new DataView(data.buffer).setFloat32(5, 3.5, true);
    const header = { a: f32(0, 4), odd: { dtype: 'BOOL', shape: [1], data_offsets: [4, 5] } };
    data[4] = 7; // a byte that is no bool
    const json = JSON.stringify({ ...header, moved: f32(5, 9) });
    const path = file(json.padEnd(Math.ceil(json.length / 8) * 8), data.subarray(0, 9));
    const read = openSafetensors(path);
    const first = read.tensor('a');
    const again = read.tensor('a');
    first.fill_(9);
    assert.equal(again.item(), 2.5); // each has a mapping of its own
    assert.deepEqual(read.tensor('odd').toTypedArray(), new Uint8Array([1]));
    const moved = read.tensor('moved');
    assert.equal(moved.item(), 3.5);
    moved.fill_(1);
    assert.equal(read.tensor('moved').item(), 3.5); // a copy
    read.close();
    assert.throws(() => read.tensor('a'), DisposedError);
    assert.equal(first.item(), 9);
    assert.equal(openSafetensors(path).tensor('a').item(), 2.5); // the file itself was not written to
  });

  it('unmaps a tensor when its last view is disposed of', (t) => {
    if (!existsSync('/proc/self/maps')) return t.skip('needs /proc');
    const path = join(folder, 'mapped.safetensors');
    const mappings = () => readFileSync('/proc/self/maps', 'utf8').split(path).length - 1;
    using x = tensor([1, 2, 3]);
    writeSafetensors(path, new Map([['x', x]]));
    using read = openSafetensors(path);
    const stored = read.tensor('x');
    const view = stored.narrow(0, 1, 2);
    stored.dispose();
    assert.equal(mappings(), 1);
    assert.deepEqual(view.toArray(), [2, 3]);
    view.dispose();
    assert.equal(mappings(), 0); // at once, not when garbage is collected
  });

  it('leaves no tensor behind', () => {
    const path = join(folder, 'count.safetensors');
    using x = tensor([1, 2, 3]);
    const before = liveTensorCount();
    writeSafetensors(path, new Map([['x', x]]));
    using read = openSafetensors(path);
    read.tensor('x').dispose();
    assert.equal(liveTensorCount(), before);
  });

  it('reads a file of the published layout and rewrites it without a change of data', (t) => {
    const path = join(shared, 'fixtures', 'plug-tiny', 'model.safetensors');
    if (!existsSync(path)) return t.skip(`${path} is absent`);
    using read = openSafetensors(path);
    assert.deepEqual(read.info('bert.embeddings.word_embeddings.weight'), {
      dtype: 'float32',
      shape: [176, 64],
    });
    const copy = join(folder, 'copy.safetensors');
    const tensors = new Map(read.names().map((name) => [name, read.tensor(name)]));
    writeSafetensors(copy, tensors);
    using again = openSafetensors(copy);
    assert.deepEqual(again.names(), read.names());
    for (const [name, original] of tensors)
      assert.deepEqual(again.tensor(name).toTypedArray(), original.toTypedArray(), name);
    // against the raw bytes, parsed here by hand
    const raw = readFileSync(path);
    const length = Number(raw.readBigUInt64LE());
    const header = JSON.parse(raw.toString('utf8', 8, 8 + length));
    const [begin, end] = header['bert.encoder.LayerNorm.weight'].data_offsets;
    assert.deepEqual(
      read.tensor('bert.encoder.LayerNorm.weight').toTypedArray(),
      new Float32Array(new Uint8Array(raw.subarray(8 + length + begin, 8 + length + end)).buffer),
    );
  });
});

describe('safetensors: malformed files', () => {
  const eight = new Uint8Array(8);
  const cases: [string, () => string, RegExp][] = [
    ['shorter than the length field', () => raw(Buffer.from([1, 2, 3])), /it has 3 bytes/],
    ['empty', () => raw(Buffer.alloc(0)), /it has 0 bytes/],
    ['header longer than the file', () => file('{}', undefined, 500n), /500 bytes, but only 2 follow/],
    ['header past 100 MB', () => file('{}', undefined, 2n ** 63n), /claims 9223372036854775808 bytes/],
    ['invalid JSON', () => file('{"a":'), /not JSON/],
    [
      'invalid UTF-8',
      () => raw(Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0x22, 0xff, 0x22])),
      /not JSON in UTF-8/,
    ],
    ['nested without end', () => file('['.repeat(200_000)), /not JSON/],
    ['header that is no object', () => file('[]'), /not a JSON object/],
    ['entry that is no object', () => file('{"a":3}'), /"a" is not described by an object/],
    ['metadata with a number', () => file('{"__metadata__":{"a":1}}'), /__metadata__/],
    ['overlap', () => file({ a: f32(0, 8), b: f32(4, 8) }, eight), /"b" begins at byte 4.*overlaps/],
    ['gap', () => file({ a: f32(0, 4), b: f32(8, 12) }, new Uint8Array(12)), /"b" begins at byte 8.*gap/],
    ['gap before the first', () => file({ a: f32(4, 8) }, eight), /"a" begins at byte 4.*gap/],
    ['negative offset', () => file({ a: f32(-4, 0, [1]) }, eight), /data_offsets \[-4,0\]/],
    ['end before begin', () => file({ a: f32(8, 4, [1]) }, eight), /ends at byte 4 before/],
    ['fractional offset', () => file({ a: f32(0, 4.5, [1]) }, eight), /data_offsets \[0,4.5\]/],
    ['three offsets', () => file({ a: { ...f32(0, 8), data_offsets: [0, 4, 8] } }, eight), /data_offsets/],
    ['no offsets', () => file('{"a":{"dtype":"F32","shape":[2]}}', eight), /data_offsets undefined/],
    ['unknown dtype', () => file({ a: { ...f32(0, 8), dtype: 'F13' } }, eight), /"F13".*F64, F32/],
    ['negative size', () => file({ a: f32(0, 8, [-2]) }, eight), /shape \[-2\]/],
    ['size too large', () => file({ a: f32(0, 8, [2 ** 52, 2 ** 52]) }, eight), /shape/],
    [
      'shape that does not fill the bytes',
      () => file({ a: f32(0, 8, [3]) }, eight),
      /takes 12 bytes.*span 8/,
    ],
    ['truncated data', () => file({ a: f32(0, 16) }, eight), /truncated.*describes 16 bytes.*file has 8/],
    ['trailing bytes', () => file({ a: f32(0, 4) }, eight), /4 bytes follow the data/],
    ['a name twice', () => file(`{"a":${JSON.stringify(f32(0, 8))},"\\u0061" : {}}`, eight), /"a" twice/],
  ];

  function raw(bytes: Uint8Array): string {
    const path = join(folder, 'hand-made.safetensors');
    writeFileSync(path, bytes);
    return path;
  }

  for (const [name, make, pattern] of cases)
    it(`refuses: ${name}`, () => {
      const path = make();
      assert.throws(
        () => openSafetensors(path),
        (error: Error) => {
          assert.ok(error instanceof CheckpointError, String(error));
          assert.ok(error.message.includes(path), error.message);
          assert.match(error.message, pattern);
          return true;
        },
      );
    });

  it('names a missing file, a folder, and a missing tensor', () => {
    const absent = join(folder, 'absent.safetensors');
    assert.throws(() => openSafetensors(absent), {
      name: 'CheckpointError',
      message: /absent.*no such file/,
    });
    assert.throws(() => openSafetensors(folder), { name: 'CheckpointError', message: /not a regular file/ });
    const read = openSafetensors(file({ a: f32(0, 8) }, eight));
    for (const use of [read.info, read.tensor] as ((name: string) => unknown)[])
      assert.throws(() => use('b'), { name: 'CheckpointError', message: /no tensor "b"; it has 1: a/ });
    assert.equal(read.has('b'), false);
  });

  it('never crashes or hangs on damage: any bit flipped, any length', () => {
    const path = join(folder, 'fuzz-source.safetensors');
    writeSafetensors(
      path,
      new Map<string, Tensor>([
        ['weight', tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] })],
        ['ids', tensor(new BigInt64Array([1n, 2n]))],
        ['mask', tensor([1, 0, 1], { dtype: 'bool' })],
      ]),
      { format: 'pt' },
    );
    const whole = readFileSync(path);
    const headerBytes = 8 + Number(whole.readBigUInt64LE());
    let refused = 0;
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.array(fc.nat(headerBytes * 8 - 1), { maxLength: 4 }),
        fc.oneof(fc.constant(whole.length), fc.nat(whole.length)),
        (flips, length) => {
          const damaged = Buffer.from(whole.subarray(0, length));
          for (const bit of flips)
            if (bit >> 3 < length) damaged[bit >> 3] = damaged[bit >> 3]! ^ (1 << (bit & 7));
          const target = join(folder, 'fuzz.safetensors');
          writeFileSync(target, damaged);
          try {
            using read = openSafetensors(target);
            for (const name of read.names()) read.tensor(name).toTypedArray();
            accepted++; // a changed name or metadata is no damage that can be seen
          } catch (error) {
            assert.ok(error instanceof CheckpointError, String(error));
            refused++;
          }
        },
      ),
      { numRuns: 2000 },
    );
    assert.ok(refused > 1000 && accepted > 10, `${refused} refused, ${accepted} accepted`);
  });
});

describe('safetensors: writing that fails', () => {
  it('keeps the old file and leaves no temporary one when the disk is full', (t) => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]).status === 0;
    if (!mounted) return t.skip('mounting a small tmpfs needs root');
    try {
      const path = join(disk, 'model.safetensors');
      writeSafetensors(path, new Map([['x', tensor([1, 2, 3])]]));
      const before = readFileSync(path);
      const large = new Map([['x', tensor(new Float32Array(100_000))]]);
      assert.throws(() => writeSafetensors(path, large), {
        name: 'CheckpointError',
        message: /model\.safetensors: ENOSPC.*Nothing was replaced/,
      });
      assert.deepEqual(readFileSync(path), before);
      assert.deepEqual(readdirSync(disk), ['model.safetensors']);
    } finally {
      spawnSync('umount', [disk]);
    }
  });

  it('keeps the old file when a tensor was disposed or the folder is missing', () => {
    const path = join(folder, 'kept.safetensors');
    const x = tensor([1]);
    writeSafetensors(path, new Map([['x', x]]));
    x.dispose();
    assert.throws(() => writeSafetensors(path, new Map([['x', x]])), DisposedError);
    assert.equal(openSafetensors(path).tensor('x').item(), 1);
    assert.throws(() => writeSafetensors(join(folder, 'no', 'x'), new Map()), {
      name: 'CheckpointError',
      message: /ENOENT/,
    });
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('.tmp-')),
      [],
    );
  });
});

describe('safetensors: writing tensor by tensor', () => {
  const path = join(folder, 'streamed.safetensors');
  const promised = new Map([
    ['a', { dtype: 'float32' as DType, shape: [2] }],
    ['b', { dtype: 'int32' as DType, shape: [1, 3] }],
  ]);
  const leftovers = (): string[] => readdirSync(folder).filter((name) => name.includes('.tmp-'));

  it('accepts what was promised in its order only, and leaves nothing when given up', () => {
    using a = tensor([1, 2]);
    using b = tensor([1, 2, 3], { dtype: 'int32', shape: [1, 3] });
    for (const [name, item, message] of [
      ['b', b, /"a", float32 \[2\], was to come next/],
      ['a', b, /"a" is int32 \[1,3\]/],
    ] as const) {
      using writer = new SafetensorsWriter(path, promised);
      assert.throws(() => writer.write(name, item), { name: 'CheckpointError', message });
    }
    {
      using writer = new SafetensorsWriter(path, promised);
      writer.write('a', a);
      assert.throws(() => writer.finish(), { name: 'CheckpointError', message: /"b" was not written/ });
      assert.equal(leftovers().length, 1);
    }
    assert.deepEqual(leftovers(), []);
    assert.equal(existsSync(path), false);
    using writer = new SafetensorsWriter(path, promised);
    writer.write('a', a);
    writer.write('b', b);
    writer.finish();
    using read = openSafetensors(path);
    assert.deepEqual(read.tensor('b').toTypedArray(), new Int32Array([1, 2, 3]));
  });
});
