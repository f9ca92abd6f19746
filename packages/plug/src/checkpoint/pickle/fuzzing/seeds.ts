// Valid small files that the fuzzer starts from: both containers, all kinds of tensors, and what real checkpoints
// have beside their tensors.
import { opcode } from '../opcodes.js';
import { TorchWriter } from '../torch-writer.js';
import {
  assemble,
  call,
  dict,
  globalNamed,
  int,
  pickle,
  tensorOf,
  text,
  torchLegacy,
  torchZip,
  tuple,
} from './assemble.js';

/** A pickle with the storages that it refers to, by key. */
export interface Seed {
  readonly pickle: Buffer;
  readonly storages: Readonly<Record<string, Buffer>>;
}

const bytes = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, index) => (index * 37) & 255));

/** Settings and states of training, as they stand beside `module`. */
const trainingKeys = {
  iteration: int(70000),
  lr: assemble(opcode.BINFLOAT, Buffer.from('3f1a36e2eb1c432d', 'hex')),
  done: opcode.NEWTRUE,
  nothing: opcode.NONE,
  args: assemble(
    globalNamed('argparse', 'Namespace'),
    opcode.EMPTY_TUPLE,
    opcode.NEWOBJ,
    dict({ fp16: opcode.NEWTRUE, dtype: globalNamed('torch', 'float16') }),
    opcode.BUILD,
  ),
  names: call(
    '__builtin__',
    'set',
    assemble(opcode.EMPTY_LIST, opcode.MARK, text('a'), text('b'), opcode.APPENDS),
  ),
  rng: call(
    'numpy.core.multiarray',
    '_reconstruct',
    globalNamed('numpy', 'ndarray'),
    tuple(int(0)),
    call('_codecs', 'encode', text('b'), text('latin1')),
  ),
};

/** Pickles that load. */
export function seedPickles(): Seed[] {
  const plain = dict({
    weight: tensorOf({ shape: [3, 4] }),
    bias: tensorOf({ key: '1', type: 'FloatStorage', shape: [3] }),
  });
  const views = dict({
    transposed: tensorOf({ shape: [4, 3], strides: [1, 4], numel: 12 }),
    part: tensorOf({ shape: [2], offset: 5, numel: 12 }),
    repeated: tensorOf({ shape: [5, 12], strides: [0, 1], numel: 12 }),
    scalar: tensorOf({ shape: [], numel: 12 }),
    empty: tensorOf({ shape: [0, 4], numel: 12 }),
    flags: tensorOf({ key: '1', type: 'BoolStorage', shape: [12] }),
  });
  const half = bytes(24);
  return [
    { pickle: pickle(plain), storages: { 0: half, 1: bytes(12) } },
    { pickle: pickle(views), storages: { 0: half, 1: bytes(12) } },
    {
      pickle: pickle(dict({ module: dict({ bert: plain }), ...trainingKeys })),
      storages: { 0: half, 1: bytes(12) },
    },
    { pickle: newProtocol(), storages: { 0: half } },
  ];
}

/** The opcodes of protocol 4. */
function newProtocol(): Buffer {
  const short = (value: string): Buffer => assemble(opcode.SHORT_BINUNICODE, value.length, value);
  const named = (module: string, name: string): Buffer =>
    assemble(short(module), short(name), opcode.STACK_GLOBAL, opcode.MEMOIZE);
  const id = assemble(
    opcode.MARK,
    short('storage'),
    named('torch', 'HalfStorage'),
    short('0'),
    short('cpu'),
    int(12),
    opcode.TUPLE,
  );
  const body = assemble(
    opcode.EMPTY_DICT,
    opcode.MEMOIZE,
    short('weight'),
    named('torch._utils', '_rebuild_tensor_v2'),
    opcode.MARK,
    id,
    opcode.BINPERSID,
    int(0),
    assemble(int(3), int(4), opcode.TUPLE2),
    assemble(int(4), int(1), opcode.TUPLE2),
    opcode.NEWFALSE,
    assemble(named('collections', 'OrderedDict'), opcode.EMPTY_TUPLE, opcode.REDUCE),
    opcode.TUPLE,
    opcode.REDUCE,
    opcode.SETITEM,
    opcode.STOP,
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(body.length));
  return assemble(opcode.PROTO, 4, opcode.FRAME, length, body);
}

/** Whole files that load. */
export function seedFiles(): Buffer[] {
  const files = seedPickles().map((seed) => torchZip(seed.pickle, seed.storages));
  const [first] = seedPickles();
  files.push(
    torchLegacy(first!.pickle, [
      ['0', 12, first!.storages[0]!],
      ['1', 3, first!.storages[1]!],
    ]),
  );
  const parts: Buffer[] = [];
  const writer = new TorchWriter(
    (part) => parts.push(Buffer.from(part)),
    'mp_rank_00_model_states',
    'module',
    [
      { name: 'a.weight', dtype: 'float16', shape: [2, 3] },
      { name: 'a.bias', dtype: 'bfloat16', shape: [2] },
    ],
    { iteration: 7 },
  );
  writer.tensor((write) => write(bytes(12)));
  writer.tensor((write) => write(bytes(4)));
  writer.finish();
  files.push(Buffer.concat(parts));
  return files;
}
