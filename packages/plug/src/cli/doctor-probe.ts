// A program of its own: loads the tensor layer and prints what it finds as JSON. `plug doctor` runs it as a child,
// so that an addon that is missing, built for another CPU, or crashes is reported and not suffered.
import { readFileSync } from 'node:fs';

/** What the probe prints. */
export interface ProbeReport {
  loadMs: number;
  torchVersion: string;
  /** Vector instructions in libtorch's own kernels: "AVX2", "AVX512". */
  cpuCapability: string;
  threads: number;
  /** Files of the libraries in the process. */
  libtorchFile: string | undefined;
  blasFile: string | undefined;
  /** Speed of a 512 × 512 matrix product in 10^9 operations (multiplications and additions) a second. */
  matmulGflops: { float32: number; bfloat16: number };
}

const SIZE = 512;
const ROUNDS = 5;

try {
  process.stdout.write(JSON.stringify(await measure()));
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}

async function measure(): Promise<ProbeReport> {
  const begun = performance.now();
  const torch = await import('@openplug/torch');
  // The first call counts as loading: that is when libtorch must be there at the latest.
  const { torchVersion } = torch.buildInfo();
  return {
    loadMs: performance.now() - begun,
    torchVersion,
    cpuCapability: torch.cpuCapability(),
    threads: torch.getNumThreads(),
    libtorchFile: mappedFile(/libtorch_cpu\.so/),
    blasFile: mappedFile(/\/lib(openblas|mkl_rt|mkl_core|blis|blas)[^/]*\.so/),
    matmulGflops: { float32: matmulGflops(torch, 'float32'), bfloat16: matmulGflops(torch, 'bfloat16') },
  };
}

/** The best of a few rounds; the first one, which prepares the kernels, does not count. */
function matmulGflops(torch: typeof import('@openplug/torch'), dtype: 'float32' | 'bfloat16'): number {
  return torch.noGrad(() => {
    using left = torch.ones([SIZE, SIZE], dtype);
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round <= ROUNDS; round++) {
      const start = performance.now();
      left.matmul(left).dispose();
      if (round > 0) best = Math.min(best, performance.now() - start);
    }
    return (2 * SIZE ** 3) / (best * 1e6);
  });
}

function mappedFile(pattern: RegExp): string | undefined {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return lines.map((line) => line.split(/\s+/)[5] ?? '').find((path) => pattern.test(path));
}
