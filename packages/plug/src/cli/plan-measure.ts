// A quick measurement of the machine at hand, in the terms that plans reckon with.
import { availableParallelism, cpus, totalmem } from 'node:os';
import { aten, type DType, nn, noGrad, ones, scope, setNumThreads, zeros } from '@openplug/torch';
import type { Hardware } from '../plan/index.js';

const size = 1024;
const readBytes = 2 ** 28;
const rounds = 5;

/** Rates of matrix products and of reading memory with all cores; takes about a second. */
export function measureHardware(): Hardware {
  setNumThreads(availableParallelism());
  const limit = process.constrainedMemory() || totalmem();
  return noGrad(() =>
    scope(() => ({
      name: 'this machine',
      kind: 'cpu' as const,
      peak: { float32: productRate('float32'), half: productRate('bfloat16'), int8: packedRate() },
      bandwidth: readRate(),
      memoryBytes: Math.min(limit, totalmem()),
      source: `measured: ${cpus()[0]?.model ?? 'unknown CPU'}, ${availableParallelism()} threads`,
    })),
  );
}

function productRate(dtype: DType): number {
  const x = ones([size, size], dtype);
  return operations / bestSeconds(() => x.matmul(x).dispose());
}

function packedRate(): number {
  const weight = nn.packLinear(ones([size, size]), 'int8');
  const x = ones([size, size]);
  return operations / bestSeconds(() => nn.packedLinear(x, weight).dispose());
}

function readRate(): number {
  const memory = zeros([readBytes / 4]);
  return readBytes / bestSeconds(() => aten.sum(memory).dispose());
}

const operations = 2 * size ** 3;

/** The best of a few rounds; the first one, which prepares kernels and pages, does not count. */
function bestSeconds(work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round <= rounds; round++) {
    const started = performance.now();
    work();
    if (round > 0) best = Math.min(best, (performance.now() - started) / 1000);
  }
  return best;
}
