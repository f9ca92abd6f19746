// A seeded order of 0..size-1 in constant memory: an epoch over any number of samples needs no table, and the
// place of one index is found without those before it.
import { mix32 } from '../../random.js';

// Four rounds make a Feistel network a pseudo-random permutation (Luby and Rackoff 1988); two more are spare
// for the very small domains.
const rounds = 6;

/**
 * The permutation of 0..size-1 that belongs to `key` (32 bits): a Feistel network over the next power of four,
 * walked until the value falls inside the range (fewer than four steps on average). `size` is at most 2^52.
 */
export function keyedPermutation(size: number, key: number): (index: number) => number {
  const halfBits = Math.max(1, Math.ceil(Math.log2(size) / 2));
  const half = 2 ** halfBits;
  const roundKeys = Int32Array.from({ length: rounds }, (_, round) =>
    mix32(key + Math.imul(round, 0x9e3779b9)),
  );
  return (index) => {
    let value = index;
    do {
      let left = Math.floor(value / half);
      let right = value % half;
      for (let round = 0; round < rounds; round++) {
        const mixed = (left ^ mix32(right ^ roundKeys[round]!)) & (half - 1);
        left = right;
        right = mixed;
      }
      value = left * half + right;
    } while (value >= size);
    return value;
  };
}
