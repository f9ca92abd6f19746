// Machines that a plan names, and what is assumed of them. Only CPUs run OpenPLUG so far; the others say what a size asks.
import type { InferencePrecision } from './work.js';

export interface Hardware {
  readonly name: string;
  readonly kind: 'cpu' | 'gpu';
  /** Peak of large matrix products, operations/s. float32 of GPUs is without TF32; half precision without sparsity. */
  readonly peak: { readonly float32: number; readonly half: number; readonly int8: number };
  /** Bytes/s that memory can be read at. */
  readonly bandwidth: number;
  readonly memoryBytes: number;
  /** Where these come from. */
  readonly source: string;
}

/** Shares of the peak that work is assumed to reach. */
export interface Utilisation {
  readonly training: number;
  readonly encoding: number;
  /** Of the memory's bandwidth, when tokens are written. */
  readonly reading: number;
}

/**
 * CPU: OpenPLUG as measured, 71 to 77 % of the rate of a large product when training (docs/performance.md); GPU: shares
 * that are usual for models of this kind, not measured with OpenPLUG.
 */
export const utilisationOf: Readonly<Record<Hardware['kind'], Utilisation>> = {
  cpu: { training: 0.7, encoding: 0.7, reading: 0.8 },
  gpu: { training: 0.4, encoding: 0.5, reading: 0.7 },
};

const tera = 1e12;
const gib = 2 ** 30;

export const hardwareTable = {
  'cpu-2': {
    name: 'CPU, 2 cores',
    kind: 'cpu',
    peak: { float32: 0.25 * tera, half: 0.93 * tera, int8: 1.6 * tera },
    bandwidth: 45e9,
    memoryBytes: 24e9,
    source: 'measured: two Zen 5 cores with AVX512-BF16, docs/performance.md',
  },
  'cpu-32': {
    name: 'CPU, 32 cores',
    kind: 'cpu',
    peak: { float32: 3.2 * tera, half: 12 * tera, int8: 20 * tera },
    bandwidth: 350e9,
    memoryBytes: 384e9,
    source: 'assumed: 16 times two cores at 80 % of their clock, twelve channels of DDR5-4800 at 75 %',
  },
  'v100-16': {
    name: 'V100 16 GB',
    kind: 'gpu',
    peak: { float32: 15.7 * tera, half: 125 * tera, int8: 125 * tera },
    bandwidth: 900e9,
    memoryBytes: 16 * gib,
    source: 'data sheet (SXM2); half precision is float16, int8 weights are widened to it',
  },
  'a100-80': {
    name: 'A100 80 GB',
    kind: 'gpu',
    peak: { float32: 19.5 * tera, half: 312 * tera, int8: 624 * tera },
    bandwidth: 2039e9,
    memoryBytes: 80 * gib,
    source: 'data sheet (SXM)',
  },
  'h100-80': {
    name: 'H100 80 GB',
    kind: 'gpu',
    peak: { float32: 67 * tera, half: 989 * tera, int8: 1979 * tera },
    bandwidth: 3350e9,
    memoryBytes: 80 * gib,
    source: 'data sheet (SXM)',
  },
} as const satisfies Readonly<Record<string, Hardware>>;

export type HardwareName = keyof typeof hardwareTable;
export const hardwareNames = Object.keys(hardwareTable) as HardwareName[];

/** Peak rate of products with such weights; int4 ones are multiplied as int8. */
export function peakOf({ peak }: Hardware, precision: InferencePrecision): number {
  if (precision === 'float32') return peak.float32;
  return precision === 'bfloat16' ? peak.half : peak.int8;
}
