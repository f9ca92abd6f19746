import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  arange,
  bytesPerElement,
  cat,
  type DType,
  empty,
  full,
  mapFile,
  NativeError,
  ones,
  ShapeError,
  scope,
  stack,
  type TypedArray,
  tensor,
  zeros,
} from './index.js';

const dtypes = Object.keys(bytesPerElement) as DType[];

describe('creating tensors', () => {
  const own: [TypedArray, DType][] = [
    [new Float32Array([1.5, -2]), 'float32'],
    [new Float64Array([Math.PI, -0]), 'float64'],
    [new BigInt64Array([2n ** 62n + 1n, -1n]), 'int64'],
    [new Int32Array([-(2 ** 31), 5]), 'int32'],
    [new Int16Array([-32768, 5]), 'int16'],
    [new Int8Array([-128, 127]), 'int8'],
    [new Uint8Array([0, 255]), 'uint8'],
  ];
  for (const [data, dtype] of own)
    it(`takes a ${data.constructor.name} as ${dtype} and gives it back`, () => {
      using x = tensor(data);
      assert.equal(x.dtype, dtype);
      assert.deepEqual(x.shape, [2]);
      assert.deepEqual(x.toTypedArray(), data);
    });

  it('converts numbers to every dtype and back', () => {
    for (const dtype of dtypes) {
      const values = dtype === 'bool' ? [0, 1, 1] : [0, 1, 100];
      using x = tensor(values, { dtype });
      assert.equal(x.dtype, dtype);
      assert.deepEqual(x.toArray(), values, dtype);
    }
    assert.equal(tensor([1, 2]).dtype, 'float32');
    assert.deepEqual(tensor([0, 0.5, -3], { dtype: 'bool' }).toArray(), [0, 1, 1]);
    assert.deepEqual(tensor(new Float32Array([1.9, -1.9]), { dtype: 'int32' }).toArray(), [1, -1]);
  });

  it('converts from every dtype to every other', () => {
    for (const from of dtypes)
      for (const to of dtypes)
        scope(() => {
          const x = tensor([0, 1], { dtype: from }).to(to);
          assert.equal(x.dtype, to);
          assert.deepEqual(x.toArray(), [0, 1], `${from} to ${to}`);
        });
  });

  it('reads 16-bit words and bytes as they are', () => {
    const words = new Uint16Array([0x3f80, 0xc000]); // 1 and -2 as bfloat16
    assert.deepEqual(tensor(words, { dtype: 'bfloat16' }).toTypedArray(), new Float32Array([1, -2]));
    assert.deepEqual(tensor(new Uint16Array([0x3c00]), { dtype: 'float16' }).item(), 1);
    const bytes = new Uint8Array(new Float64Array([2.5]).buffer);
    assert.equal(tensor(bytes, { dtype: 'float64', shape: [] }).item(), 2.5);
    assert.deepEqual(tensor(Buffer.from([1, 2])).toTypedArray(), new Uint8Array([1, 2]));
  });

  it('rounds to bfloat16 and float16 to nearest, ties to even', () => {
    // 8 and 11 significant bits: halfway cases go to the even neighbour
    const bf = tensor([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20], { dtype: 'bfloat16' });
    assert.deepEqual(bf.toArray(), [1, 1 + 2 ** -6, 1 + 2 ** -7]);
    assert.deepEqual(tensor([1 + 2 ** -11, 65520], { dtype: 'float16' }).toArray(), [1, Infinity]);
  });

  it('refuses shapes that do not hold the data, and arrays without a dtype', () => {
    assert.throws(() => tensor([1, 2, 3], { shape: [2] }), {
      name: 'ShapeError',
      message: 'Shape [2] holds 2 elements, the data has 3 of float32.',
    });
    assert.throws(() => tensor(new Uint16Array(2)), ShapeError);
    assert.throws(() => tensor(new Uint16Array(2), { dtype: 'float32' }), ShapeError);
    assert.throws(() => tensor(new Uint32Array(2) as unknown as TypedArray), /Uint32Array has no dtype/);
    assert.throws(() => tensor(new Uint8Array(3), { dtype: 'int16' }), ShapeError);
    assert.throws(() => tensor(new Float32Array(4), { shape: [-2, -2] }), ShapeError);
    assert.throws(() => tensor([1], { dtype: 'float8' as DType }), /float8/);
  });

  it('fills', () => {
    assert.deepEqual(zeros([2, 2]).toArray(), [0, 0, 0, 0]);
    assert.deepEqual(ones([2], 'int64').toTypedArray(), new BigInt64Array([1n, 1n]));
    assert.deepEqual(full([2], -1.5, 'float64').toTypedArray(), new Float64Array([-1.5, -1.5]));
    assert.deepEqual(arange(3).toTypedArray(), new BigInt64Array([0n, 1n, 2n]));
    assert.deepEqual(empty([3, 0, 2]).shape, [3, 0, 2]);
    assert.deepEqual(cat([ones([1, 2]), zeros([2, 2])]).shape, [3, 2]);
    assert.deepEqual(stack([ones([2]), zeros([2])], 1).toArray(), [1, 0, 1, 0]);
  });

  it('gives back any float32 data of any shape unchanged', () => {
    fc.assert(
      fc.property(fc.float32Array({ maxLength: 200 }), (data) => {
        using x = tensor(data, { shape: [data.length, 1] });
        assert.deepEqual(x.toTypedArray(), data);
      }),
    );
  });
});

describe('sharing memory', () => {
  it('sees writes from both sides when asked to share, and copies otherwise', () => {
    const data = new Float32Array([1, 2, 3]);
    using shared = tensor(data, { share: true });
    using copied = tensor(data);
    data[0] = 10;
    assert.deepEqual(shared.toArray(), [10, 2, 3]);
    assert.deepEqual(copied.toArray(), [1, 2, 3]);
    shared.mul_(2);
    assert.deepEqual([...data], [20, 4, 6]);
  });

  it('shares a part of a larger buffer, and copies where it is not aligned', () => {
    const bytes = new Uint8Array(16);
    using aligned = tensor(bytes.subarray(4, 12), { dtype: 'float32', share: true });
    using crooked = tensor(bytes.subarray(1, 9), { dtype: 'float32', share: true });
    aligned.fill_(1);
    crooked.fill_(3);
    assert.deepEqual(new Float32Array(bytes.buffer), new Float32Array([0, 1, 1, 0]));
    assert.deepEqual(crooked.toArray(), [3, 3]);
  });

  it('gives views that share storage with their base', () => {
    using base = tensor([1, 2, 3, 4], { shape: [2, 2] });
    using row = base.select(0, 1);
    using turned = base.transpose(0, 1);
    row.fill_(9);
    assert.deepEqual(base.toArray(), [1, 2, 9, 9]);
    assert.deepEqual(turned.toArray(), [1, 9, 2, 9]); // row-major of the view, not of the memory
    base.dispose();
    assert.deepEqual(row.toArray(), [9, 9]);
  });

  it('maps files, each mapping private to its reader', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'openplug-map-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'bytes');
    writeFileSync(path, Buffer.from([1, 2, 3]));
    const first = mapFile(path);
    first[0] = 9;
    assert.deepEqual([...mapFile(path)], [1, 2, 3]);
    assert.deepEqual([...first], [9, 2, 3]);
    writeFileSync(path, '');
    assert.equal(mapFile(path).length, 0);
    assert.throws(
      () => mapFile(join(folder, 'absent')),
      (error: Error) => {
        assert.ok(error instanceof NativeError);
        assert.match(error.message, /absent: ENOENT/);
        return true;
      },
    );
  });
});
