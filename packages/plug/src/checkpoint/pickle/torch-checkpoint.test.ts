// Files of torch.save as named tensors: both containers, views, names, and every way in which a file can be wrong.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { liveTensorCount } from '@openplug/torch';
import { CheckpointError, DisposedError } from '../../errors.js';
import { memorySource } from './byte-source.js';
import {
  assemble,
  call,
  dict,
  globalNamed,
  int,
  legacyHead,
  type Part,
  pickle,
  tensorOf,
  text,
  torchLegacy,
  torchZip,
  zipOf,
} from './fuzzing/assemble.js';
import { opcode } from './opcodes.js';
import { openTorchBytes, openTorchCheckpoint, type TorchCheckpointOptions } from './torch-checkpoint.js';

const folder = mkdtempSync(join(tmpdir(), 'plug-torch-file-'));
after(() => rmSync(folder, { recursive: true }));

const floats = Buffer.from(Float32Array.from({ length: 12 }, (_, index) => index).buffer);
const storages = { 0: floats };
const float = (shape: number[], strides?: number[], offset = 0): Buffer =>
  tensorOf({ type: 'FloatStorage', shape, ...(strides && { strides }), offset, numel: 12 });

function open(bytes: Uint8Array, options?: TorchCheckpointOptions): ReturnType<typeof openTorchBytes> {
  return openTorchBytes(memorySource('x.pt', bytes), options);
}

/** Every tensor of a file, as numbers. */
function valuesOf(bytes: Uint8Array, options?: TorchCheckpointOptions): Record<string, number[]> {
  using file = open(bytes, options);
  return Object.fromEntries(
    file.names().map((name) => {
      using tensor = file.tensor(name);
      assert.deepEqual({ dtype: tensor.dtype, shape: tensor.shape }, file.info(name));
      return [name, tensor.toArray()];
    }),
  );
}

function refused(pattern: RegExp, bytes: Uint8Array, options?: TorchCheckpointOptions): void {
  const before = liveTensorCount();
  assert.throws(
    () => valuesOf(bytes, options),
    (error: Error) => {
      assert.ok(error instanceof CheckpointError, error.stack);
      assert.match(error.message, pattern);
      return true;
    },
  );
  assert.equal(liveTensorCount(), before);
}

const views = dict({
  whole: float([3, 4]),
  transposed: float([4, 3], [1, 4]),
  column: float([3], [4], 1),
  repeated: float([2, 3], [0, 1], 2),
  scalar: float([], [], 11),
  empty: float([0, 5]),
});
const viewValues = {
  whole: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  transposed: [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
  column: [1, 5, 9],
  repeated: [2, 3, 4, 2, 3, 4],
  scalar: [11],
  empty: [],
};

describe('a file of torch.save', () => {
  it('gives views over storages, from both containers', () => {
    assert.deepEqual(valuesOf(torchZip(pickle(views), storages)), viewValues);
    assert.deepEqual(valuesOf(torchZip(pickle(views), storages), { verify: true }), viewValues);
    assert.deepEqual(valuesOf(torchLegacy(pickle(views), [['0', 12, floats]])), viewValues);
  });

  it('knows every dtype', () => {
    const words = Buffer.from('00000000c03f80bf', 'hex'); // as bfloat16: 0, 0, 1.5, -1
    const read = (type: string, numel: number): number[] =>
      valuesOf(torchZip(pickle(dict({ t: tensorOf({ type, shape: [numel] }) })), { 0: words })).t!;
    assert.deepEqual(read('BFloat16Storage', 4), [0, 0, 1.5, -1]);
    assert.deepEqual(read('HalfStorage', 4), [0, 0, 1.9375, -1.875]);
    assert.deepEqual(read('ShortStorage', 4), [0, 0, 0x3fc0, 0xbf80 - 65536]);
    assert.deepEqual(read('CharStorage', 8), [0, 0, 0, 0, -64, 63, -128, -65]);
    assert.deepEqual(read('ByteStorage', 8), [0, 0, 0, 0, 192, 63, 128, 191]);
    assert.deepEqual(read('BoolStorage', 8), [0, 0, 0, 0, 1, 1, 1, 1]);
    assert.deepEqual(read('IntStorage', 2), [0, 0xbf803fc0 - 2 ** 32]);
    assert.equal(read('LongStorage', 1).length, 1);
    assert.equal(read('DoubleStorage', 1).length, 1);
  });

  it('reads tensors larger than the buffer of reading', () => {
    const length = (9 << 20) / 4;
    const numbers = Float32Array.from({ length }, (_, index) => index % 1000);
    const file = torchZip(pickle(dict({ t: tensorOf({ type: 'FloatStorage', shape: [length] }) })), {
      0: Buffer.from(numbers.buffer),
    });
    using opened = open(file, { verify: true });
    using tensor = opened.tensor('t');
    assert.deepEqual(tensor.toTypedArray(), numbers);
  });

  it('finds the state dict and joins nested names', () => {
    const state = dict({ 'a.b': float([1]), c: dict({ d: float([2]) }), note: text('x') });
    const names = ['a.b', 'c.d'];
    for (const key of ['module', 'state_dict', 'model_state_dict', 'model']) {
      const file = torchZip(pickle(dict({ step: int(3), rng: float([3]), [key]: state })), storages);
      using opened = open(file);
      assert.deepEqual(opened.names(), names);
      assert.deepEqual(opened.within, [key]);
      assert.deepEqual(opened.others, ['note']);
      assert.deepEqual(opened.keys(), ['step', 'rng', key]);
      assert.equal(opened.plain('step'), 3);
    }
    assert.deepEqual(Object.keys(valuesOf(torchZip(pickle(state), storages))), names);
    const deep = torchZip(pickle(dict({ x: dict({ y: state }) })), storages);
    assert.deepEqual(Object.keys(valuesOf(deep, { within: ['x', 'y'] })), names);
    refused(/no key "z"; it has "x"/, deep, { within: ['z'] });
  });

  it('skips objects of unknown classes beside the state dict, and refuses them within', () => {
    const unknown = [
      globalNamed('argparse', 'Namespace'),
      opcode.EMPTY_TUPLE,
      opcode.NEWOBJ,
      dict({ f: float([2]) }),
      opcode.BUILD,
    ];
    const beside = pickle(dict({ args: unknown, module: dict({ w: float([2]) }) }));
    assert.deepEqual(valuesOf(torchZip(beside, storages)), { w: [0, 1] });
    assert.deepEqual(valuesOf(torchLegacy(beside, [['0', 12, floats]])), { w: [0, 1] });
    const inert = /"argparse\.Namespace" \(byte \d+ of the pickle\).*was not executed/;
    refused(inert, torchZip(pickle(dict({ module: dict({ w: unknown }) })), storages));
    refused(inert, torchZip(pickle(dict({ module: unknown })), storages));
    refused(inert, torchZip(pickle(unknown), storages));
    refused(
      /os\.system/,
      torchZip(pickle(dict({ args: call('os', 'system', text('x')), module: dict({}) }))),
    );
  });

  it('refuses views that leave their storage or repeat it without end', () => {
    const one = (part: Part): Buffer => torchZip(pickle(dict({ t: part })), storages);
    refused(/tensor "t" .*reaches to byte 52 of a storage of 48/, one(float([13])));
    refused(/reaches to byte 52/, one(float([12], [1], 1)));
    refused(/reaches to byte 52/, one(float([2, 2], [11, 1])));
    refused(/repeats the 48 bytes/, one(float([1_000_000, 1_000_000], [0, 0])));
    refused(/repeats the 48 bytes/, one(float([0, 2 ** 50, 2 ** 50], [0, 0, 0])));
    refused(/reaches to byte/, one(float([2 ** 52, 2 ** 52], [2 ** 52, 2 ** 52])));
  });

  it('refuses storages that are missing or of another size, and wrong checksums', () => {
    const state = pickle(dict({ t: float([12]), part: float([2]) }));
    refused(/storage "0" is missing/, torchZip(state));
    refused(/storage "0" has 40 bytes, expected 48/, torchZip(state, { 0: floats.subarray(0, 40) }));
    const file = torchZip(state, storages);
    const start = file.indexOf(floats);
    file[start + 20]! ^= 1;
    refused(/storage of tensor "t" \(bytes \d+ to \d+\) has the checksum .*damaged/, file, { verify: true });
    using opened = open(file, { verify: true });
    assert.throws(() => opened.tensor('part'), /storage of tensor "part"/); // a part alone is checked as a whole
    assert.equal(valuesOf(file).t!.length, 12); // not asked for
    const pickleDamaged = torchZip(state, storages);
    pickleDamaged[pickleDamaged.indexOf('part')]! ^= 1;
    refused(/data\.pkl does not have the checksum/, pickleDamaged);
  });

  it('refuses other zips and other files', () => {
    const data = pickle(dict({ t: float([1]) }));
    refused(/0 entries NAME\/data\.pkl/, zipOf([['a/b', data]]));
    refused(
      /2 entries NAME\/data\.pkl/,
      zipOf([
        ['a/data.pkl', data],
        ['b/data.pkl', data],
      ]),
    );
    refused(
      /"b\/x" is outside the folder "a\/"/,
      zipOf([
        ['a/data.pkl', data],
        ['b/x', data],
      ]),
    );
    refused(
      /TorchScript/,
      zipOf([
        ['a/data.pkl', data],
        ['a/constants.pkl', data],
      ]),
    );
    refused(
      /byte order is "big"/,
      zipOf([
        ['a/data.pkl', data],
        ['a/byteorder', Buffer.from('big')],
      ]),
    );
    refused(/1 bytes behind its end/, torchZip(assemble(data, 0)));
    refused(/pointer of Git LFS/, Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\n'));
    refused(/not a file of torch\.save. It starts with "<html>"/, Buffer.from('<html>'));
    refused(/It is empty/, Buffer.alloc(0));
    refused(/is a list, expected a dict/, torchZip(pickle(opcode.EMPTY_LIST)));
    refused(
      /a tuple as a key/,
      torchZip(pickle(opcode.EMPTY_DICT, opcode.EMPTY_TUPLE, int(1), opcode.SETITEM)),
    );
    refused(
      /two tensors are named "a\.b"/,
      torchZip(pickle(dict({ a: dict({ b: float([1]) }), 'a.b': float([1]) })), storages),
    );
  });

  it('refuses state dicts that multiply or contain themselves', () => {
    refused(
      /nested too deep/,
      torchZip(pickle(opcode.EMPTY_DICT, opcode.BINPUT, 0, text('me'), opcode.BINGET, 0, opcode.SETITEM)),
    );
    const parts: Part[] = [dict({ t: float([1]) })];
    for (let level = 0; level < 25; level++)
      parts.push(
        opcode.BINPUT,
        level,
        opcode.POP,
        opcode.EMPTY_DICT,
        opcode.MARK,
        text('a'),
        opcode.BINGET,
        level,
        text('b'),
        opcode.BINGET,
        level,
        opcode.SETITEMS,
      );
    refused(/too large/, torchZip(pickle(parts), storages));
  });

  it('refuses damaged legacy files', () => {
    const data = pickle(dict({ t: float([12]) }));
    const good = torchLegacy(data, [['0', 12, floats]]);
    refused(/magic number is missing/, pickle(int(1)));
    refused(/protocol of torch\.save/, assemble(legacyHead().subarray(0, 15), pickle(int(7))));
    refused(/little-endian/, assemble(legacyHead(false), data));
    refused(/is truncated/, good.subarray(0, good.length - 1));
    refused(/1 bytes follow/, assemble(good, 0));
    refused(/has 11 elements, expected 12/, torchLegacy(data, [['0', 11, floats]]));
    refused(/nothing refers to the storage "1"/, torchLegacy(data, [['1', 12, floats]]));
    refused(
      /not different texts/,
      torchLegacy(data, [
        ['0', 12, floats],
        ['0', 12, floats],
      ]),
    );
    for (let length = 0; length < good.length; length += 3) refused(/./, good.subarray(0, length));
  });

  it('refuses what is no file, and files that shrink or were closed', () => {
    const path = join(folder, 'x.pt');
    assert.throws(() => openTorchCheckpoint(join(folder, 'none.pt')), CheckpointError);
    assert.throws(() => openTorchCheckpoint(folder), /is not a file/);
    writeFileSync(path, torchZip(pickle(dict({ t: float([12]) })), storages));
    const file = openTorchCheckpoint(path);
    using tensor = file.tensor('t');
    assert.equal(tensor.numel, 12);
    assert.throws(() => file.tensor('x'), /has no tensor "x"; it has 1: "t"/);
    truncateSync(path, 100);
    assert.throws(() => file.tensor('t'), /became shorter while it was read/);
    file[Symbol.dispose]();
    assert.throws(() => file.tensor('t'), DisposedError);
  });
});
