// The pickle machine: values of every protocol, and refusals by name and position of all that is not data.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CheckpointError } from '../../errors.js';
import {
  assemble,
  call,
  dict,
  globalNamed,
  int,
  type Part,
  pickle,
  storage,
  tensorOf,
  text,
  tuple,
  u32,
  u64,
} from './fuzzing/assemble.js';
import { seedPickles } from './fuzzing/seeds.js';
import { opcode } from './opcodes.js';
import { readPickle } from './reader.js';
import { InertObject, PickleDType, PickleTuple, type PickleValue, TensorView } from './values.js';

function load(...parts: readonly Part[]): PickleValue {
  return readPickle({ bytes: pickle(...parts), where: 'test' }).value;
}

function refused(pattern: RegExp, ...parts: readonly Part[]): void {
  assert.throws(
    () => load(...parts),
    (error: Error) => {
      assert.ok(error instanceof CheckpointError, error.stack);
      assert.match(error.message, pattern);
      return true;
    },
  );
}

const repeated = (part: Part, count: number): Buffer => {
  const one = assemble(part);
  return Buffer.alloc(one.length * count, one);
};

describe('values of a pickle', () => {
  const cases: readonly (readonly [string, Part, PickleValue])[] = [
    ['NONE', opcode.NONE, null],
    ['NEWTRUE', opcode.NEWTRUE, true],
    ['BININT, negative', [opcode.BININT, u32(0xfffffffe)], -2],
    ['BININT2', [opcode.BININT2, 0x01, 0x02], 513],
    ['LONG1, empty', [opcode.LONG1, 0], 0],
    ['LONG1, negative', [opcode.LONG1, 2, 0x00, 0xff], -256],
    ['LONG1, past 2^53', [opcode.LONG1, 9, u64(2n ** 63n), 0], 2n ** 63n],
    ['LONG4', [opcode.LONG4, u32(1), 5], 5],
    ['BINFLOAT', [opcode.BINFLOAT, Buffer.from('c004000000000000', 'hex')], -2.5],
    ['INT, a bool', 'I01\n', true],
    ['INT', 'I-12\n', -12],
    ['LONG', 'L123456789012345678901L\n', 123456789012345678901n],
    ['FLOAT', 'F1e-3\n', 0.001],
    ['FLOAT, infinite', 'F-inf\n', -Infinity],
    ['STRING', "S'a\\n\\x41\\''\n", "a\nA'"],
    ['UNICODE', 'V\\u4e2d\\U0001f600\n', '中😀'],
    ['BINUNICODE', text('中文😀'), '中文😀'],
    ['BINUNICODE8', [opcode.BINUNICODE8, u64(1), 'x'], 'x'],
    ['BINSTRING', [opcode.BINSTRING, u32(2), 'ab'], 'ab'],
    ['SHORT_BINSTRING that is no text', [opcode.SHORT_BINSTRING, 1, 0xff], Uint8Array.of(255)],
    ['SHORT_BINBYTES', [opcode.SHORT_BINBYTES, 2, 1, 2], Uint8Array.of(1, 2)],
    ['BYTEARRAY8', [opcode.BYTEARRAY8, u64(1), 9], Uint8Array.of(9)],
    ['LIST', [opcode.MARK, int(1), int(2), opcode.LIST], [1, 2]],
    ['APPEND', [opcode.EMPTY_LIST, int(1), opcode.APPEND], [1]],
    ['DICT', [opcode.MARK, text('a'), int(1), opcode.DICT], new Map([['a', 1]])],
    ['ADDITEMS', [opcode.EMPTY_SET, opcode.MARK, int(1), opcode.ADDITEMS], new Set([1])],
    ['TUPLE2', [int(1), int(2), opcode.TUPLE2], new PickleTuple([1, 2])],
    ['POP', [int(1), int(2), opcode.POP], 1],
    ['POP_MARK', [int(1), opcode.MARK, int(2), opcode.POP_MARK], 1],
    ['memo', [int(7), opcode.BINPUT, 3, opcode.POP, opcode.BINGET, 3], 7],
    ['memo of protocol 0', [int(7), 'p3\n', opcode.POP, 'g3\n'], 7],
    [
      'OrderedDict with attributes',
      [call('collections', 'OrderedDict'), dict({ x: int(1) }), opcode.BUILD],
      new Map(),
    ],
    [
      'a set of protocol 2',
      call('__builtin__', 'set', [opcode.EMPTY_LIST, int(1), opcode.APPEND]),
      new Set([1]),
    ],
    ['bytes of protocol 2', call('_codecs', 'encode', text('\u00ff'), text('latin1')), Uint8Array.of(255)],
    ['torch.Size', call('torch', 'Size', tuple(int(2))), new PickleTuple([2])],
    ['a dtype', globalNamed('torch', 'float16'), new PickleDType('torch.float16', 'float16')],
  ];
  for (const [name, part, expected] of cases)
    it(name, () => {
      const value = load(part);
      assert.deepEqual(value instanceof Uint8Array ? new Uint8Array(value) : value, expected);
    });

  it('tells where the pickle ends, and which storages it refers to', () => {
    const bytes = assemble(pickle(tensorOf({ key: '5', shape: [2] })), 'rest');
    const { end, storages } = readPickle({ bytes, where: 'test' });
    assert.equal(bytes.toString('latin1', end), 'rest');
    assert.deepEqual([...storages.keys()], ['5']);
  });

  it('makes views of tensors, strides and offset included', () => {
    const view = load(
      tensorOf({ type: 'FloatStorage', shape: [3, 2], strides: [1, 3], offset: 4, numel: 20 }),
    );
    assert.ok(view instanceof TensorView);
    const { dtype, shape, strides, offset } = view;
    assert.deepEqual(
      { dtype, shape, strides, offset },
      { dtype: 'float32', shape: [3, 2], strides: [1, 3], offset: 4 },
    );
    assert.ok(
      load(
        call('torch._utils', '_rebuild_parameter', tensorOf({ shape: [1] }), opcode.NEWTRUE, opcode.NONE),
      ) instanceof TensorView,
    );
  });
});

describe('what a pickle may not do', () => {
  it('code: the global is named with its position and nothing runs', () => {
    refused(/global "os\.system" .* was not executed.*GLOBAL at byte 2\)/, call('os', 'system', text('x')));
    refused(/"builtins\.eval"/, globalNamed('__builtin__', 'eval'));
    refused(/"torch\.serialization\.os\.system"/, globalNamed('torch.serialization', 'os.system'));
    refused(/"posix\.system".*STACK_GLOBAL at byte \d+/, text('posix'), text('system'), opcode.STACK_GLOBAL);
    refused(/opcode INST at byte 2/, opcode.INST, 'os\nsystem\n');
    refused(/opcode OBJ at byte \d+/, opcode.MARK, globalNamed('argparse', 'Namespace'), opcode.OBJ);
  });

  it('objects of unknown classes hold nothing and do nothing', () => {
    const namespace = [globalNamed('argparse', 'Namespace'), opcode.EMPTY_TUPLE, opcode.NEWOBJ];
    const value = load(namespace, dict({ a: int(1) }), opcode.BUILD);
    assert.deepEqual(value, new InertObject('argparse.Namespace', 2));
    for (const part of [
      call('numpy.core.multiarray', '_reconstruct', globalNamed('numpy', 'ndarray')),
      [namespace, int(1), opcode.APPEND],
      [namespace, text('k'), int(1), opcode.SETITEM],
      call('collections', 'OrderedDict', namespace),
    ])
      assert.ok(load(part) instanceof InertObject);
    // Names of JavaScript's own objects are names like all others.
    for (const name of ['constructor', '__proto__', 'hasOwnProperty']) {
      const made = load(dict({ [name]: int(1) }));
      assert.deepEqual(made, new Map([[name, 1]]));
    }
    assert.ok(load(globalNamed('torch', 'constructor')) instanceof InertObject);
  });

  it('other opcodes, wrong calls and wrong values', () => {
    refused(/opcode EXT1 at byte 2/, opcode.EXT1, 1);
    refused(/opcode PERSID at byte 2/, 'Pid\n');
    refused(/opcode NEXT_BUFFER/, opcode.NEXT_BUFFER);
    refused(/no opcode.*0xff at byte 2/, 0xff);
    refused(/protocol 6/, opcode.PROTO, 6);
    refused(/a str is called/, text('x'), opcode.EMPTY_TUPLE, opcode.REDUCE);
    refused(/persistent id is not that of a storage/, tuple(text('module')), opcode.BINPERSID);
    refused(
      /class of a storage is the global/,
      tuple(text('storage'), globalNamed('collections', 'OrderedDict'), text('0'), text('cpu'), int(1)),
      opcode.BINPERSID,
    );
    refused(/storage "0" is 3 of float16 here and 2/, storage({ shape: [2] }), storage({ shape: [3] }));
    refused(
      /tensor is made over a str/,
      call(
        'torch._utils',
        '_rebuild_tensor_v2',
        text('x'),
        int(0),
        tuple(),
        tuple(),
        opcode.NONE,
        opcode.NONE,
      ),
    );
    refused(/wrong offset, size or stride/, tensorOf({ shape: [2, 2], strides: [1] }));
    refused(/65 dimensions/, tensorOf({ shape: Array(65).fill(1) }));
    refused(/a key is a list/, opcode.EMPTY_DICT, opcode.EMPTY_LIST, int(1), opcode.SETITEM);
    refused(/a key has no value/, opcode.EMPTY_DICT, opcode.MARK, int(1), opcode.SETITEMS);
    refused(/not valid UTF-8/, opcode.SHORT_BINUNICODE, 1, 0xff);
    refused(/a value is missing/, opcode.POP);
    refused(/a value is missing/, int(1), opcode.MARK, opcode.POP, opcode.POP, opcode.POP);
    refused(/there is no mark/, opcode.TUPLE);
    refused(/place 9 of the memo/, opcode.BINGET, 9);
    refused(/1 values are left over/, int(1), int(2));
  });

  it('take more than its share of time or memory', () => {
    refused(/4294967295 bytes are announced, only 1 follow/, opcode.BINUNICODE, u32(0xffffffff));
    refused(/bytes are announced/, opcode.BINBYTES8, u64(2n ** 63n));
    refused(/integer of 2000 bytes/, opcode.LONG4, u32(2000), Buffer.alloc(2000));
    refused(/is not an integer/, 'L', '9'.repeat(10_000), '\n');
    refused(/more than 400000 lists/, repeated([opcode.EMPTY_LIST, opcode.POP], 400_001));
    refused(/more than 1000000 values are on the stack/, repeated(opcode.NONE, 1_000_001));
    refused(/more than 4000000 steps/, repeated([opcode.NONE, opcode.POP], 2_000_001));
    const list = [
      opcode.EMPTY_LIST,
      opcode.MARK,
      repeated(opcode.NONE, 1000),
      opcode.APPENDS,
      opcode.BINPUT,
      0,
    ];
    const copy = [globalNamed('builtins', 'set'), opcode.BINGET, 0, opcode.TUPLE1, opcode.REDUCE, opcode.POP];
    refused(/more than 4000000 steps/, list, repeated(copy, 5000));
    const nested = load(repeated(opcode.EMPTY_LIST, 300_000), repeated(opcode.APPEND, 299_999));
    assert.ok(Array.isArray(nested)); // depth costs nothing
  });

  it('end early: at every byte it is refused', () => {
    for (const { pickle: whole } of seedPickles())
      for (let length = 0; length < whole.length; length++)
        assert.throws(
          () => readPickle({ bytes: whole.subarray(0, length), where: 'test' }),
          (error: Error) => error instanceof CheckpointError && /at byte \d+\)\.$/.test(error.message),
        );
  });
});
