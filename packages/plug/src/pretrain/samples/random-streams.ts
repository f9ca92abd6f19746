// The first key after the seed of every random stream of this folder, in one place so that no two purposes
// share a stream; and the two kinds of draw that RandomStream does not have.
import type { RandomStream } from '../../random.js';

export const streamKey = {
  stage1Sample: 0x5101,
  stage2Sample: 0x5201,
  stage2Masking: 0x5202,
  anchorOrder: 0x5301,
  batchOrder: 0x5401,
} as const;

/** Uniform in [0, 1) with 53 bits: 32 are too few to name one token of a corpus of 10^11. */
export function uniform53(random: RandomStream): number {
  const high = random.nextUint32() >>> 5;
  const low = random.nextUint32() >>> 6;
  return (high * 0x400_0000 + low) / 2 ** 53;
}

/** Rounds down or up at random so that the expectation is `value` itself. */
export function roundAtRandom(value: number, random: RandomStream): number {
  return Math.floor(value + random.uniform());
}
