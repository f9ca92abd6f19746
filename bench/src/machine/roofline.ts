// What this machine can do at most, as measured here: matrix products by dtype and shape, reading and copying memory by
// size, and what a call of an operator from TypeScript costs. Other benchmarks are read against these.
import { availableParallelism, cpus } from 'node:os';
import {
  aten,
  buildInfo,
  cpuCapability,
  type DType,
  noGrad,
  scope,
  setNumThreads,
  type Tensor,
  zeros,
} from '@openplug/torch';
import { type BenchOptions, progress, report, type Spread, selected, spreadOf } from '../harness/harness.js';
import { computeDTypes, type Shape, type ShapeName, shapeNames, shapes } from '../shapes.js';

const defaultRounds = 9;
const smallestTurnSeconds = 0.02;

/** Seconds of one run, over rounds of enough repetitions to time well. */
export function timedRuns(rounds: number, work: () => void): Spread {
  const timed = (count: number): number => {
    const started = performance.now();
    for (let run = 0; run < count; run++) work();
    return (performance.now() - started) / 1000;
  };
  work();
  const repeats = Math.max(1, Math.ceil(smallestTurnSeconds / timed(1)));
  return spreadOf(Array.from({ length: rounds }, () => timed(repeats) / repeats));
}

/** A product [m, k] × [k, n] and where the model has it. */
interface Product {
  name: string;
  m: number;
  k: number;
  n: number;
}

/** Large squares, and the forward products of a training step of a shape. */
function productsOf({ config, batch, sourceLength }: Shape): Product[] {
  const { hiddenSize: e, intermediateSize: f, vocabSize: v } = config;
  const tokens = batch * sourceLength;
  return [
    ...[1024, 2048, 4096].map((size) => ({ name: 'square', m: size, k: size, n: size })),
    { name: 'query, key, value', m: tokens, k: e, n: 3 * e },
    { name: 'projection', m: tokens, k: e, n: e },
    { name: 'feed-forward, up', m: tokens, k: e, n: f },
    { name: 'feed-forward, down', m: tokens, k: f, n: e },
    { name: 'vocabulary', m: tokens, k: e, n: v },
    { name: 'one token, up', m: 1, k: e, n: f },
  ];
}

const random = (shape: number[], dtype: DType): Tensor => aten.normal_(zeros(shape)).to(dtype);

/** FLOP/s of `x · wᵀ`, the way linear layers multiply. */
function productRate({ m, k, n }: Product, dtype: DType, rounds: number): number {
  return scope(() => {
    const [x, w] = [random([m, k], dtype), aten.t(random([n, k], dtype))];
    return (2 * m * k * n) / timedRuns(rounds, () => x.matmul(w).dispose()).min;
  });
}

/** Bytes/s of reading an array of so many bytes, and of copying one (read and written bytes both counted). */
function memoryRates(numBytes: number, rounds: number): { read: number; copy: number } {
  return scope(() => {
    const [from, to] = [0, 1].map(() => zeros([numBytes / 4])) as [Tensor, Tensor];
    const read = timedRuns(rounds, () => aten.sum(from).dispose()).min;
    const copy = timedRuns(rounds, () => void aten.copy_(to, from)).min;
    return { read: numBytes / read, copy: (2 * numBytes) / copy };
  });
}

/** Seconds of one operator on one number: what crossing into libtorch and back costs. */
function callSeconds(rounds: number): Record<string, number> {
  return scope(() => {
    const one = zeros([1]);
    return {
      'zero_ in place': timedRuns(rounds, () => void aten.zero_(one)).median,
      'neg, disposed of': timedRuns(rounds, () => aten.neg(one).dispose()).median,
    };
  });
}

/** Rates of matrix products, memory and operator calls. */
export async function benchRoofline(options: BenchOptions): Promise<void> {
  const name: ShapeName = selected('shape', shapeNames, options.shape, ['reference'])[0]!;
  const dtypes = selected('dtype', computeDTypes, options.dtype);
  const rounds = options.rounds ?? defaultRounds;
  const sizes = (name === 'trial' ? [20] : [18, 20, 22, 24, 26, 28, 29]).map((power) => 2 ** power);
  setNumThreads(availableParallelism());
  const measured = noGrad(() => {
    progress('roofline: matrix products');
    const products = productsOf(shapes[name])
      .filter(({ m }) => name !== 'trial' || m < 2048)
      .flatMap((product) =>
        dtypes.map((dtype) => ({ ...product, dtype, flopsPerSecond: productRate(product, dtype, rounds) })),
      );
    progress('roofline: memory and operator calls');
    const memory = sizes.map((numBytes) => ({ numBytes, ...memoryRates(numBytes, rounds) }));
    return { products, memory, callSeconds: callSeconds(rounds) };
  });
  const giga = (value: number): string => (value / 1e9).toFixed(0);
  const mega = (value: number): string => `${value / 2 ** 20} MiB`;
  const rows = [
    ['what', 'size', 'dtype', 'rate'],
    ...measured.products.map(({ name: what, m, k, n, dtype, flopsPerSecond }) => [
      what,
      `${m}×${k}×${n}`,
      dtype,
      `${giga(flopsPerSecond)} GFLOP/s`,
    ]),
    ...measured.memory.flatMap(({ numBytes, read, copy }) => [
      ['read', mega(numBytes), 'float32', `${giga(read)} GB/s`],
      ['copy', mega(numBytes), 'float32', `${giga(copy)} GB/s`],
    ]),
    ...Object.entries(measured.callSeconds).map(([what, seconds]) => [
      what,
      '1 number',
      'float32',
      `${(seconds * 1e6).toFixed(2)} µs`,
    ]),
  ];
  report(options, rows, {
    bench: 'roofline',
    cpu: cpus()[0]?.model ?? 'unknown',
    threads: availableParallelism(),
    cpuCapability: cpuCapability(),
    torchVersion: buildInfo().torchVersion,
    ...measured,
  });
}
