// The boundary to the addon, typed by hand in this one file. Everything else in the package goes through it.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DisposedError, NativeError } from './errors.js';

declare const handleBrand: unique symbol;
/** An external value that owns one C++ tensor. */
export type TensorHandle = { readonly [handleBrand]: 'tensor' };
/** An external value that owns one C++ random generator. */
export type GeneratorHandle = { readonly [handleBrand]: 'generator' };
/** An external value that owns one recorded program. */
export type ProgramHandle = { readonly [handleBrand]: 'program' };

/** What an operator takes and gives across the boundary. */
export type NativeValue =
  | TensorHandle
  | GeneratorHandle
  | number
  | bigint
  | boolean
  | string
  | undefined
  | null
  | readonly NativeValue[];

/** Element types, by their usual names. */
export type DType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'bfloat16'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint8'
  | 'bool';

/** Versions and settings of the libtorch that the addon was built against. */
export interface BuildInfo {
  torchVersion: string;
  /** Compiler, BLAS and CPU capability, as libtorch prints them. */
  configuration: string;
  /** Thread pools, as libtorch prints them. */
  parallel: string;
}

/** A JavaScript object that stands for a C++ one. */
export abstract class NativeObject<Handle extends TensorHandle | GeneratorHandle> {
  /** For the operator bridge only. */
  readonly handle: Handle;

  constructor(handle: Handle) {
    this.handle = handle;
  }
}

interface NativeModule {
  resolve(name: string): number;
  call(index: number, ...values: NativeValue[]): NativeValue;
  schemas(namespace: string): string[];
  attachBackward(
    inputs: TensorHandle[],
    outputs: TensorHandle[],
    /** Kept alive for the backward, which gets fresh handles on them. */
    saved: TensorHandle[],
    /** Gradients of the outputs to fresh handles of the inputs' gradients, which the addon releases. */
    backward: (
      gradients: (TensorHandle | undefined)[],
      saved: TensorHandle[],
    ) => (TensorHandle | undefined)[],
  ): void;
  backward(roots: TensorHandle[], gradients: TensorHandle[] | undefined, retainGraph: boolean): void;
  setGradEnabled(enabled: boolean): boolean;
  requiresGrad(handle: TensorHandle, value?: boolean): boolean;
  grad(handle: TensorHandle, value?: TensorHandle | null): TensorHandle | undefined;
  fromBytes(data: ArrayBufferView, dtype: DType, shape: readonly number[], share: boolean): TensorHandle;
  readBytes(handle: TensorHandle, into: ArrayBufferView): void;
  /** Another handle on the same tensor. */
  alias(handle: TensorHandle): TensorHandle;
  dispose(handle: TensorHandle): void;
  shape(handle: TensorHandle): number[];
  dtype(handle: TensorHandle): DType;
  /** A mapping of part of an open file, and where in it that part begins. */
  mapFile(file: number, offset: number, length: number): [mapping: ArrayBuffer, skipped: number];
  /** The tensor at `offset` of an open file, on a mapping that ends with it; a copy where it is not aligned. */
  mapTensor(file: number, offset: number, dtype: DType, shape: readonly number[]): TensorHandle;
  prefetch(handle: TensorHandle): void;
  setErrorClasses(native: new (message: string) => Error, disposed: new (message: string) => Error): void;
  threads(count?: number): number;
  makeGenerator(seed: number): GeneratorHandle;
  generatorState(handle: GeneratorHandle, state?: TensorHandle): TensorHandle | undefined;
  /** [live tensors, bytes that they own] */
  counters(): [number, number];
  buildInfo(): BuildInfo;
  startRecording(): void;
  /** Ends the recording; without an output it is given up. */
  stopRecording(output?: TensorHandle): ProgramHandle | undefined;
  runProgram(program: ProgramHandle): TensorHandle;
  disposeProgram(program: ProgramHandle): void;
  startProfile(): void;
  /** [name, shapes, start in µs, duration in µs, thread] */
  stopProfile(): [string, string, number, number, number][];
}

/** Settings that libraries read from the environment when they are loaded; what the user has set stays. */
function tuneLibraries(): void {
  const { env } = process;
  // oneDNN compiles each shape of matrix product once and keeps 1024; training meets more than that.
  env.ONEDNN_PRIMITIVE_CACHE_CAPACITY ??= '16384';
  // OpenBLAS (fp32 products) and OpenMP (everything else) have threads of their own, and those that wait keep their
  // core busy for milliseconds, in each other's way. After some 100 µs they now sleep: an fp32 training step of
  // hidden 512 takes 1.8 s instead of 3.2 s on two cores.
  env.OPENBLAS_THREAD_TIMEOUT ??= '16'; // log2 of clock cycles
  if (!env.OMP_WAIT_POLICY) env.GOMP_SPINCOUNT ??= '10000'; // turns of a loop
}

function load(): NativeModule {
  const packageFolder = join(dirname(fileURLToPath(import.meta.url)), '..');
  // OPENPLUG_TORCH_ADDON chooses another build of the addon (for example one with AddressSanitizer).
  const path =
    process.env.OPENPLUG_TORCH_ADDON ?? join(packageFolder, 'build', 'Release', 'openplug_torch.node');
  if (!existsSync(path))
    throw new NativeError(`The native addon is not built: ${path} does not exist. Run \`npm run setup\`.`);
  tuneLibraries();
  try {
    const addon = createRequire(import.meta.url)(path) as NativeModule;
    addon.setErrorClasses(NativeError, DisposedError);
    return addon;
  } catch (error) {
    throw new NativeError(
      `The native addon does not load: ${(error as Error).message}\n` +
        'libtorch may have been moved or updated since it was built: run `npm run setup` again.',
      { cause: error },
    );
  }
}

/** The addon, loaded at its first use: help, error texts and `plug doctor` must work without it. */
export const native: NativeModule = Object.create(
  new Proxy(
    {},
    {
      get(_, name: keyof NativeModule) {
        Object.assign(native, load());
        return native[name];
      },
    },
  ),
) as NativeModule;
