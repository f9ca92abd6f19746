// Random numbers by key: a stream depends on nothing but its keys (seed, step, row, …), so a position in
// the data is one integer, and any number of workers, or a resumed run, draws the same numbers.
import { uniformInt } from 'pure-rand/distribution/uniformInt'; // chosen: well tested, exact integer ranges
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** A stream of uniform random numbers. */
export interface RandomStream {
  /** The next 32 random bits as an unsigned integer. */
  nextUint32(): number;
  /** Uniform in [0, 1), 32 bits of resolution. */
  uniform(): number;
  /** Uniform integer in [lowest, highest], both ends included, without bias. */
  integer(lowest: number, highest: number): number;
  /** Shuffles in place (Fisher–Yates) and returns its argument. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T;
}

/** The stream that belongs to these keys (integers; each is taken modulo 2^32). */
export function keyedRandom(...keys: number[]): RandomStream {
  let seed = 0x9e3779b9;
  for (const key of keys) seed = mix32((seed ^ mix32(key | 0)) + 0x9e3779b9);
  const generator = xoroshiro128plus(seed);
  const stream: RandomStream = {
    nextUint32: () => generator.next() >>> 0,
    uniform: () => (generator.next() >>> 0) / 0x1_0000_0000,
    integer: (lowest, highest) => uniformInt(generator, lowest, highest),
    shuffle(items) {
      for (let last = items.length - 1; last > 0; last--) {
        const other = uniformInt(generator, 0, last);
        const held = items[last];
        items[last] = items[other];
        items[other] = held;
      }
      return items;
    },
  };
  return stream;
}

/** The finaliser of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit. */
export function mix32(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
