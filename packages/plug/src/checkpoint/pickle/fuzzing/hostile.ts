// Files made to do harm: nesting, multiplication, huge sizes, code, names that lead elsewhere. Each must be refused or
// read within the limits of time and memory.
import type { RandomStream } from '../../../random.js';
import { opcode } from '../opcodes.js';
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
  tuple,
  u32,
  u64,
  zipOf,
} from './assemble.js';

type Generator = (random: RandomStream) => Buffer;

const pick = <Item>(random: RandomStream, items: readonly Item[]): Item =>
  items[random.integer(0, items.length - 1)]!;

const repeated = (part: Part, count: number): Buffer => {
  const one = assemble(part);
  return Buffer.alloc(one.length * count, one);
};

/** Numbers at the edges of widths. */
export function edgeNumber(random: RandomStream): bigint {
  const power = 1n << BigInt(pick(random, [0, 7, 8, 15, 16, 31, 32, 47, 52, 53, 62, 63]));
  const value = power + BigInt(random.integer(-2, 2));
  return value < 0n ? 0n : value > 0x7fff_ffff_ffff_ffffn ? 0x7fff_ffff_ffff_ffffn : value;
}

/** How often: mostly little, sometimes a lot. */
function count(random: RandomStream): number {
  return random.integer(1, pick(random, [10, 1000, 100_000, 1_000_000]));
}

const hostileGlobals: readonly (readonly [string, string])[] = [
  ['os', 'system'],
  ['posix', 'system'],
  ['builtins', 'eval'],
  ['__builtin__', 'getattr'],
  ['subprocess', 'Popen'],
  ['torch.serialization', 'os.system'],
  ['numpy.testing._private.utils', 'runstring'],
  ['__main__', 'Model'],
  ['argparse', 'Namespace'],
  ['constructor', 'prototype'],
  ['__proto__', 'toString'],
  ['torch', 'hasOwnProperty'],
  ['\u202eexe', 'a\u0000b'],
];

/** Generators by name. */
export const hostileFiles: Readonly<Record<string, Generator>> = {
  nestedLists: (random) => {
    const depth = count(random);
    return torchZip(pickle(repeated(opcode.EMPTY_LIST, depth), repeated(opcode.APPEND, depth - 1)));
  },
  nestedTuples: (random) => torchZip(pickle(opcode.NONE, repeated(opcode.TUPLE1, count(random)))),
  nestedDicts: (random) => {
    const depth = count(random);
    const open = assemble(opcode.EMPTY_DICT, text('k'));
    return torchZip(pickle(repeated(open, depth), opcode.NONE, repeated(opcode.SETITEM, depth)));
  },
  marks: (random) => torchZip(pickle(repeated(opcode.MARK, count(random)))),
  duplicates: (random) => torchZip(pickle(opcode.EMPTY_LIST, repeated(opcode.DUP, count(random)))),
  memo: (random) => {
    const many = Array.from({ length: Math.min(count(random), 200_000) }, (_, index) => [
      opcode.LONG_BINPUT,
      u32(random.uniform() < 0.5 ? index : random.nextUint32()),
    ]);
    return torchZip(pickle(opcode.EMPTY_DICT, many));
  },
  /** Dicts that hold the one before twice: 2^n names. */
  multiplied: (random) => {
    const levels = random.integer(2, 40);
    const parts: Part[] = [dict({ t: tensorOf({ shape: [1] }) })];
    for (let level = 0; level < levels; level++)
      parts.push([
        opcode.BINPUT,
        level,
        opcode.POP,
        opcode.EMPTY_DICT,
        opcode.MARK,
        text('a'),
        [opcode.BINGET, level],
        text('b'),
        [opcode.BINGET, level],
        opcode.SETITEMS,
      ]);
    return torchZip(pickle(parts), { 0: Buffer.alloc(2) });
  },
  cycle: () => {
    const self = [opcode.EMPTY_DICT, opcode.BINPUT, 0, text('me'), opcode.BINGET, 0, opcode.SETITEM];
    return torchZip(pickle(self));
  },
  /** A large list is copied again and again. */
  copies: (random) => {
    const list = [opcode.EMPTY_LIST, opcode.MARK, repeated(opcode.NONE, count(random)), opcode.APPENDS];
    const copy = [
      globalNamed('builtins', pick(random, ['set', 'list', 'tuple', 'frozenset'])),
      [opcode.BINGET, 0, opcode.TUPLE1, opcode.REDUCE, opcode.POP],
    ];
    return torchZip(pickle(list, opcode.BINPUT, 0, repeated(copy, Math.min(count(random), 30_000))));
  },
  bytesCopies: (random) => {
    const long = assemble(
      text('x'.repeat(count(random))),
      opcode.BINPUT,
      0,
      text('latin1'),
      opcode.BINPUT,
      1,
    );
    const copy = [
      globalNamed('_codecs', 'encode'),
      [opcode.BINGET, 0, opcode.BINGET, 1, opcode.TUPLE2, opcode.REDUCE],
    ];
    return torchZip(pickle(long, repeated(copy, Math.min(count(random), 30_000))));
  },
  announcedLength: (random) => {
    const [code, width] = pick(random, [
      [opcode.BINUNICODE, 4],
      [opcode.BINBYTES, 4],
      [opcode.LONG4, 4],
      [opcode.BINBYTES8, 8],
      [opcode.BINUNICODE8, 8],
      [opcode.BYTEARRAY8, 8],
      [opcode.FRAME, 8],
    ] as const);
    return torchZip(pickle(code, u64(edgeNumber(random)).subarray(0, width)));
  },
  longInteger: (random) => {
    const digits = Math.min(count(random), 500_000);
    return torchZip(
      random.uniform() < 0.5
        ? pickle(opcode.LONG, '9'.repeat(digits), 'L\n')
        : pickle(opcode.LONG4, u32(digits), Buffer.alloc(digits, 0x7f)),
    );
  },
  tensorSizes: (random) => {
    const some = (): bigint[] =>
      Array.from({ length: random.integer(0, pick(random, [3, 70])) }, () => edgeNumber(random));
    const shape = some();
    const strides = random.uniform() < 0.8 ? shape.map(() => edgeNumber(random)) : some();
    const numel = random.uniform() < 0.5 ? 8n : edgeNumber(random);
    const offset = random.uniform() < 0.5 ? 0n : edgeNumber(random);
    return torchZip(pickle(dict({ t: tensorOf({ shape, strides, numel, offset }) })), {
      0: Buffer.alloc(16),
    });
  },
  repeatedElements: (random) => {
    const shape = Array.from({ length: random.integer(1, 5) }, () => random.integer(0, 3000));
    return torchZip(pickle(dict({ t: tensorOf({ shape, strides: shape.map(() => 0), numel: 1 }) })), {
      0: Buffer.alloc(2),
    });
  },
  globals: (random) => {
    const [module, name] = pick(random, hostileGlobals);
    const made = pick<Part>(random, [
      globalNamed(module, name),
      call(module, name, text('echo harm')),
      [globalNamed(module, name), opcode.EMPTY_TUPLE, opcode.NEWOBJ, dict({ a: int(1) }), opcode.BUILD],
      [text(module), text(name), opcode.STACK_GLOBAL, opcode.EMPTY_TUPLE, opcode.REDUCE],
      [opcode.INST, `${module}\n${name}\n`],
      [opcode.MARK, globalNamed(module, name), opcode.OBJ],
      [globalNamed(module, name), opcode.EMPTY_TUPLE, opcode.EMPTY_DICT, opcode.NEWOBJ_EX],
    ]);
    return torchZip(
      pickle(
        pick<Part>(random, [
          made,
          dict({ module: dict({ w: made }) }),
          dict({ module: dict({}), args: made }),
        ]),
      ),
    );
  },
  entryNames: (random) => {
    const name = pick(random, [
      '../../etc/passwd',
      '/etc/passwd',
      'archive/../../x',
      'archive\\..\\x',
      'C:/x',
      'archive//data/0',
      'archive/./data/0',
      'archive/data.pkl',
      'archive/data/0\u0000',
      'other/data.pkl',
      'archive/constants.pkl',
      '',
      `archive/${'x'.repeat(60_000)}`,
    ]);
    return zipOf([
      ['archive/data.pkl', pickle(dict({ t: tensorOf({ shape: [2] }) }))],
      [name, Buffer.alloc(4)],
      ['archive/data/0', Buffer.alloc(4)],
    ]);
  },
  storageKeys: (random) => {
    const key = pick(random, ['../data.pkl', '0/../0', '', '/0', '\u0000', 'x'.repeat(10_000), '__proto__']);
    return torchZip(pickle(dict({ t: tensorOf({ key, shape: [2] }) })), { 0: Buffer.alloc(4) });
  },
  manyEntries: (random) => {
    const many = Math.min(count(random), 20_000);
    return zipOf([
      ['archive/data.pkl', pickle(dict({}))],
      ...Array.from({ length: many }, (_, index) => [`archive/data/${index}`, Buffer.alloc(0)] as const),
    ]);
  },
  /** Numbers of a zip's end records replaced. */
  endRecords: (random) => {
    const file = torchZip(pickle(dict({ t: tensorOf({ shape: [2] }) })), { 0: Buffer.alloc(4) });
    for (let change = random.integer(1, 3); change > 0; change--) {
      const value = u64(edgeNumber(random));
      value.copy(file, file.length - random.integer(8, 98), 0, pick(random, [2, 4, 8]));
    }
    return file;
  },
  legacySizes: (random) => {
    const numel = edgeNumber(random);
    const root = pickle(dict({ t: tensorOf({ shape: [2], numel }) }));
    return random.uniform() < 0.5
      ? torchLegacy(root, [['0', 2, Buffer.alloc(4)]])
      : assemble(
          legacyHead(),
          root,
          pickle(opcode.EMPTY_LIST, text('0'), opcode.APPEND),
          u64(numel),
          Buffer.alloc(random.integer(0, 8)),
        );
  },
  legacyKeys: (random) => {
    const many = Math.min(count(random), 100_000);
    return torchLegacy(
      pickle(dict({ t: tensorOf({ shape: [2] }) })),
      Array.from({ length: many }, (_, index) => [`${index % 3}`, 2, Buffer.alloc(4)] as const),
    );
  },
  persistentIds: (random) => {
    const id = pick<Part>(random, [
      tuple(text('module'), int(1), text('x'), text('y')),
      text('storage'),
      tuple(text('storage')),
      tuple(text('storage'), globalNamed('os', 'system'), text('0'), text('cpu'), int(1)),
      tuple(text('storage'), globalNamed('torch', 'QInt8Storage'), text('0'), text('cpu'), int(1)),
      tuple(text('storage'), globalNamed('torch', 'HalfStorage'), text('0'), text('cpu'), opcode.NEWTRUE),
    ]);
    return torchZip(pickle(dict({ t: [id, opcode.BINPERSID] })));
  },
};
