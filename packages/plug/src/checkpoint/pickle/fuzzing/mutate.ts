// Changes to valid bytes: blind ones of any file, and those that know where a pickle's opcodes begin.
import type { RandomStream } from '../../../random.js';
import { opcode } from '../opcodes.js';
import { u64 } from './assemble.js';
import { edgeNumber } from './hostile.js';

const pick = <Item>(random: RandomStream, items: readonly Item[]): Item =>
  items[random.integer(0, items.length - 1)]!;

/** The largest file that mutation makes. */
const longest = 1 << 18;

type Mutation = (bytes: Buffer, random: RandomStream, other: Buffer) => Buffer;

const place = (bytes: Uint8Array, random: RandomStream): number =>
  random.integer(0, Math.max(0, bytes.length - 1));

const blind: readonly Mutation[] = [
  function truncate(bytes, random) {
    return bytes.subarray(0, random.integer(0, bytes.length));
  },
  function flipBits(bytes, random) {
    const changed = Buffer.from(bytes);
    for (let flips = random.integer(1, 8); flips > 0 && changed.length > 0; flips--)
      changed[place(changed, random)]! ^= 1 << random.integer(0, 7);
    return changed;
  },
  function setByte(bytes, random) {
    const changed = Buffer.from(bytes);
    if (changed.length > 0) changed[place(changed, random)] = random.integer(0, 255);
    return changed;
  },
  function setNumber(bytes, random) {
    const changed = Buffer.from(bytes);
    u64(edgeNumber(random)).copy(changed, place(changed, random), 0, pick(random, [1, 2, 4, 8]));
    return changed;
  },
  function remove(bytes, random) {
    const start = place(bytes, random);
    const length = random.integer(1, pick(random, [4, 64, 1024]));
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + length)]);
  },
  function repeat(bytes, random) {
    const start = place(bytes, random);
    const part = bytes.subarray(start, start + random.integer(1, pick(random, [4, 64, 1024])));
    const times = random.integer(1, 20);
    return Buffer.concat([bytes.subarray(0, start), ...Array(times).fill(part), bytes.subarray(start)]);
  },
  function splice(bytes, random, other) {
    return Buffer.concat([bytes.subarray(0, place(bytes, random)), other.subarray(place(other, random))]);
  },
  function insert(bytes, random, other) {
    const from = place(other, random);
    const at = place(bytes, random);
    const part = other.subarray(from, from + random.integer(1, 200));
    return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
  },
];

/** One to four blind changes; `other` gives material for splices. */
export function mutateBytes(bytes: Buffer, random: RandomStream, other: Buffer): Buffer {
  let changed = bytes;
  for (let changes = random.integer(1, 4); changes > 0; changes--)
    changed = pick(random, blind)(changed, random, other).subarray(0, longest);
  return Buffer.from(changed);
}

/** One to four changes of whole opcodes. */
export function mutateOpcodes(pickle: Buffer, random: RandomStream, other: Buffer): Buffer {
  let parts = splitOpcodes(pickle);
  const others = splitOpcodes(other);
  for (let changes = random.integer(1, 4); changes > 0; changes--) {
    const at = random.integer(0, Math.max(0, parts.length - 1));
    const left = parts.slice(0, at);
    const right = parts.slice(at + 1);
    const here = parts.slice(at, at + 1);
    const from = random.integer(0, Math.max(0, others.length - 1));
    const foreign = others.slice(from, from + random.integer(1, 12));
    parts = pick(random, [
      () => [...left, ...right],
      () => [...left, ...Array(random.integer(2, 50)).fill(here).flat(), ...right],
      () => [...left, ...foreign, ...here, ...right],
      () => [...left, randomOpcode(random), ...here, ...right],
      () => [...left, ...here.map((part) => mutateBytes(part, random, other)), ...right],
      () => [...left, ...right.slice(0, 1), ...here, ...right.slice(1)],
    ])();
  }
  return Buffer.concat(parts).subarray(0, longest);
}

const codes = Object.values(opcode);

function randomOpcode(random: RandomStream): Buffer {
  const operand = u64(edgeNumber(random)).subarray(0, pick(random, [0, 0, 1, 2, 4, 8]));
  return Buffer.concat([Buffer.from([pick(random, codes)]), operand]);
}

/** Bytes of the operand; a negative number is the width of a length in front of it, 'line' ends at a newline. */
const operands = new Map<number, number | 'line' | 'lines'>([
  [opcode.PROTO, 1],
  [opcode.FRAME, 8],
  [opcode.BININT, 4],
  [opcode.BININT1, 1],
  [opcode.BININT2, 2],
  [opcode.BINFLOAT, 8],
  [opcode.BINPUT, 1],
  [opcode.BINGET, 1],
  [opcode.LONG_BINPUT, 4],
  [opcode.LONG_BINGET, 4],
  [opcode.LONG1, -1],
  [opcode.SHORT_BINUNICODE, -1],
  [opcode.SHORT_BINBYTES, -1],
  [opcode.SHORT_BINSTRING, -1],
  [opcode.LONG4, -4],
  [opcode.BINUNICODE, -4],
  [opcode.BINBYTES, -4],
  [opcode.BINSTRING, -4],
  [opcode.GLOBAL, 'lines'],
  [opcode.LONG, 'line'],
  [opcode.INT, 'line'],
]);

/** The opcodes of a pickle with their operands; what cannot be told apart comes in single bytes. */
export function splitOpcodes(pickle: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < pickle.length; ) {
    const end = Math.min(pickle.length, at + 1 + operandLength(pickle, at));
    parts.push(pickle.subarray(at, end));
    at = end;
  }
  return parts;
}

function operandLength(pickle: Buffer, at: number): number {
  const kind = operands.get(pickle[at]!) ?? 0;
  if (kind === 'line' || kind === 'lines') {
    const first = pickle.indexOf(0x0a, at);
    const last = kind === 'lines' && first >= 0 ? pickle.indexOf(0x0a, first + 1) : first;
    return last < 0 ? 0 : last - at;
  }
  if (kind >= 0) return kind;
  return at - kind < pickle.length ? -kind + pickle.readUIntLE(at + 1, -kind) : 0;
}
