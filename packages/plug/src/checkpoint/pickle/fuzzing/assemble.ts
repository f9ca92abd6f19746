// Pickles and containers put together by hand, right or wrong as wanted: for the fuzzer and the tests.
import { opcode } from '../opcodes.js';
import { ZipWriter } from '../zip-writer.js';

/** Bytes of a pickle: a number is one byte, a text its Latin-1 characters. */
export type Part = number | string | Uint8Array | readonly Part[];

/** All parts, one after another. */
export function assemble(...parts: readonly Part[]): Buffer {
  return joined(parts);
}

function joined(parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part]);
      if (typeof part === 'string') return Buffer.from(part, 'latin1');
      return part instanceof Uint8Array ? part : joined(part);
    }),
  );
}

/** A protocol-2 pickle of what the parts leave on the stack. */
export function pickle(...parts: readonly Part[]): Buffer {
  return joined([opcode.PROTO, 2, parts, opcode.STOP]);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return assemble(opcode.BINUNICODE, u32(bytes.length), bytes);
}

/** A natural number below 2^63. */
export function int(value: number | bigint): Buffer {
  return value < 256 ? assemble(opcode.BININT1, Number(value)) : assemble(opcode.LONG1, 9, u64(value), 0); // the last byte holds the sign
}

export function tuple(...items: readonly Part[]): Buffer {
  return assemble(opcode.MARK, items, opcode.TUPLE);
}

export function dict(entries: Readonly<Record<string, Part>>): Buffer {
  const items = Object.entries(entries).flatMap(([key, value]) => [text(key), value]);
  return assemble(opcode.EMPTY_DICT, opcode.MARK, items, opcode.SETITEMS);
}

export function globalNamed(module: string, name: string): Buffer {
  return assemble(opcode.GLOBAL, `${module}\n${name}\n`);
}

export function call(module: string, name: string, ...args: readonly Part[]): Buffer {
  return assemble(globalNamed(module, name), tuple(...args), opcode.REDUCE);
}

/** What a tensor in a pickle is made of. */
export interface TensorParts {
  key?: string;
  /** Default "HalfStorage". */
  type?: string;
  /** Elements of the storage; default those of a row-major tensor of this shape. */
  numel?: number | bigint;
  offset?: number | bigint;
  shape: readonly (number | bigint)[];
  /** Default row-major. */
  strides?: readonly (number | bigint)[];
}

export function storage({ key = '0', type = 'HalfStorage', numel, shape }: TensorParts): Buffer {
  const count = numel ?? shape.reduce((product, size) => BigInt(product) * BigInt(size), 1n);
  const id = tuple(text('storage'), globalNamed('torch', type), text(key), text('cpu'), int(count));
  return assemble(id, opcode.BINPERSID);
}

export function tensorOf(parts: TensorParts): Buffer {
  const { shape, offset = 0 } = parts;
  const strides =
    parts.strides ??
    shape.map((_, index) =>
      shape.slice(index + 1).reduce((product, size) => BigInt(product) * BigInt(size), 1n),
    );
  return call(
    'torch._utils',
    '_rebuild_tensor_v2',
    storage(parts),
    int(offset),
    tuple(...shape.map(int)),
    tuple(...strides.map(int)),
    opcode.NEWFALSE,
    call('collections', 'OrderedDict'),
  );
}

/** A zip of these entries, as torch writes it. */
export function zipOf(entries: readonly (readonly [name: string, data: Uint8Array])[]): Buffer {
  const parts: Uint8Array[] = [];
  const zip = new ZipWriter((bytes) => parts.push(Buffer.from(bytes)));
  for (const [name, data] of entries) zip.entry(name, data.length, (write) => write(data));
  zip.finish();
  return Buffer.concat(parts);
}

/** A file of torch.save in the zip format. */
export function torchZip(data: Uint8Array, storages: Readonly<Record<string, Uint8Array>> = {}): Buffer {
  return zipOf([
    ['archive/data.pkl', data],
    ...Object.entries(storages).map(([key, bytes]) => [`archive/data/${key}`, bytes] as const),
    ['archive/version', Buffer.from('3\n')],
  ]);
}

/** The three pickles in front of a legacy file's object. */
export function legacyHead(littleEndian = true): Buffer {
  const magic = assemble(opcode.LONG1, 10, Buffer.from('6cfc9c46f9206aa85019', 'hex'));
  const system = dict({ little_endian: littleEndian ? opcode.NEWTRUE : opcode.NEWFALSE });
  return assemble(pickle(magic), pickle(int(1001)), pickle(system));
}

/** A legacy file of torch.save; each storage with its number of elements. */
export function torchLegacy(
  data: Uint8Array,
  storages: readonly (readonly [key: string, numel: number, bytes: Uint8Array])[],
): Buffer {
  const keys = pickle(
    opcode.EMPTY_LIST,
    opcode.MARK,
    storages.map(([key]) => text(key)),
    opcode.APPENDS,
  );
  return assemble(
    legacyHead(),
    data,
    keys,
    storages.map(([, numel, bytes]) => [u64(numel), bytes]),
  );
}
