// Process-wide facts and settings of libtorch.
import { readFileSync } from 'node:fs';
import { type BuildInfo, native } from './native.js';
import type { Tensor } from './tensor.js';

/** Number of threads that one operation uses. libtorch's own default depends on how it was built. */
export function getNumThreads(): number {
  return native.threads();
}

/** @param count 1 to 4096. Results may differ in the last bits between thread counts. */
export function setNumThreads(count: number): void {
  native.threads(count);
}

/** Tensors of this thread that have not been disposed of yet. */
export function liveTensorCount(): number {
  return native.counters()[0];
}

/** Bytes that those tensors own. */
export function liveTensorBytes(): number {
  return native.counters()[1];
}

/** Version and build settings of the libtorch in use. */
export function buildInfo(): BuildInfo {
  return native.buildInfo();
}

/** The vector instructions that libtorch's own kernels use here: "AVX512", "AVX2", "NO AVX", … */
export function cpuCapability(): string {
  return /CPU capability usage: (.+)/.exec(native.buildInfo().configuration)?.[1] ?? 'unknown';
}

/** Whether this CPU multiplies bfloat16 numbers in hardware; without that, bfloat16 is slower than float32. */
export function hasFastBFloat16(): boolean {
  try {
    return /\b(avx512_bf16|amx_bf16|bf16)\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false; // not Linux: nothing is known, and float32 is always right
  }
}

/** Has the pages of a tensor that lies on a mapped file read from disk, in the background; returns at once. */
export function prefetch(tensor: Tensor): void {
  native.prefetch(tensor.handle);
}
