// Writes a model as published PLUG shards of any tensor-parallel degree, tensor by tensor: each is read once, rounded to
// fp16 and cut, and every rank's part goes to that rank's file. Files appear under their names when all are complete.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { aten, empty, scope, type Tensor } from '@openplug/torch';
import { CheckpointError, OpenPlugError } from '../../errors.js';
import { type PlugConfig, requireNoPrompt, requirePlugDecoder } from '../../model/index.js';
import { plannedBytes, storageOrder, type TensorPlan, TorchWriter } from '../pickle/torch-writer.js';
import type { TensorSource } from '../tensor-source.js';
import {
  degreeProblem,
  embeddingName,
  partsOfRank,
  publishedLayout,
  type ShardedParameter,
  shardShape,
  tiedName,
} from './layout.js';
import { listShards, shardFolder, shardStem } from './open-published.js';

export interface SplitOptions {
  signal?: AbortSignal;
  /** Called after each tensor with the bytes written so far and in all. */
  onProgress?: (done: number, total: number) => void;
  /** Whole numbers to store beside `module`, for example `{ iteration: 7 }`. Default none. */
  extra?: Readonly<Record<string, number>>;
}

/** Room for headers, padding and the pickle of one shard, in bytes for each tensor. */
const overheadPerTensor = 512;

/**
 * Writes `folder/model/mp_rank_XX_model_states.pt` for ranks 0 to degree − 1, in fp16. Takes the memory of one tensor
 * and its rounded copy. Config and vocabulary are not written.
 * @param source all parameters of `config`; the tied output embedding may be left out
 * @throws CheckpointError when the sizes cannot be divided by `degree`, the disk has too little room, shards of another
 * degree are there already, a tensor is missing, misshapen or does not fit fp16, or writing fails. Then, and when
 * `signal` aborts, no new file is left.
 * @throws ConfigError for a decoder other than PLUG's
 */
export async function splitToShards(
  source: TensorSource,
  config: PlugConfig,
  degree: number,
  folder: string,
  options: SplitOptions = {},
): Promise<void> {
  requirePlugDecoder(config, 'the published layout');
  requireNoPrompt(config, 'the published layout');
  const problem = degreeProblem(config, degree);
  if (problem) throw new CheckpointError(`Cannot split ${source.path} ${degree} ways: ${problem}.`);
  const layout = publishedLayout(config);
  checkSource(source, layout);
  const plan = layout.map((parameter): TensorPlan => {
    return { name: parameter.name, dtype: 'float16', shape: shardShape(parameter, degree) };
  });
  const bytesOf = new Map(plan.map((tensor) => [tensor.name, degree * plannedBytes(tensor)]));
  const total = [...bytesOf.values()].reduce((sum, bytes) => sum + bytes, 0);
  const target = shardFolder(folder);
  mkdirSync(target, { recursive: true });
  checkTarget(target, degree, total + degree * plan.length * overheadPerTensor);
  const files = new ShardFiles(target, degree);
  try {
    const writers = files.sinks.map(
      (sink, rank) => new TorchWriter(sink, shardStem(rank), 'module', plan, options.extra),
    );
    let done = 0;
    for (const parameter of storageOrder(layout)) {
      await setImmediate(); // lets an abort arrive
      options.signal?.throwIfAborted();
      scope(() => writeParameter(source, parameter, writers));
      done += bytesOf.get(parameter.name)!;
      options.onProgress?.(done, total);
    }
    for (const writer of writers) writer.finish();
    files.publish();
  } catch (error) {
    files.discard();
    if (error instanceof OpenPlugError || options.signal?.aborted) throw error;
    throw new CheckpointError(
      `Cannot write shards to ${target}: ${(error as Error).message}. Nothing was replaced; free some space or ` +
        'choose another folder, then try again.',
      { cause: error },
    );
  }
}

function storedName(source: TensorSource, name: string): string {
  return name === tiedName && !source.has(name) ? embeddingName : name;
}

function checkSource(source: TensorSource, layout: readonly ShardedParameter[]): void {
  for (const { name, shape } of layout) {
    const stored = storedName(source, name);
    if (!source.has(stored))
      throw new CheckpointError(`${source.path}: tensor "${name}" (shape [${shape}]) is missing.`);
    const given = source.info(stored).shape;
    if (given.length !== shape.length || given.some((size, index) => size !== shape[index]))
      throw new CheckpointError(
        `${source.path}: tensor "${name}" has shape [${given}], expected [${shape}].`,
      );
  }
  const known = new Set(layout.map(({ name }) => name));
  const extra = source.names().find((name) => !known.has(name));
  if (extra !== undefined)
    throw new CheckpointError(`${source.path}: tensor "${extra}" has no place in a published PLUG.`);
}

function checkTarget(target: string, degree: number, bytes: number): void {
  const stray = [...listShards(target).keys()].filter((rank) => rank >= degree);
  if (stray.length > 0)
    throw new CheckpointError(
      `${target} has shards of more than ${degree} ranks (rank ${stray.join(', ')}): remove them or choose another folder.`,
    );
  const { bavail, bsize } = statfsSync(target);
  if (bavail * bsize < bytes)
    throw new CheckpointError(
      `${target} has room for ${megabytes(bavail * bsize)} MB, ${degree} shards need ${megabytes(bytes)} MB: ` +
        'free some space or choose another folder.',
    );
}

const megabytes = (bytes: number): number => Math.ceil(bytes / 1e6);

function writeParameter(
  source: TensorSource,
  parameter: ShardedParameter,
  writers: readonly TorchWriter[],
): void {
  const whole = inHalf(source, parameter.name);
  for (const [rank, writer] of writers.entries())
    scope(() => {
      const parts = partsOfRank(parameter, writers.length, rank).map(([start, , length]) =>
        whole.narrow(parameter.split!.dim, start, length),
      );
      writer.tensor((sink) => {
        // Rows lie one after another in the whole; columns are gathered first.
        for (const part of parameter.split ? parts : [whole]) writeElements(part.contiguous(), sink);
      });
    });
}

/** Elements handled at a time. */
const chunkElements = 2 << 20;

/** The tensor in fp16. @throws CheckpointError when a value is not finite there */
function inHalf(source: TensorSource, name: string): Tensor {
  const stored = source.tensor(storedName(source, name));
  if (stored.dtype === 'float16') return stored.contiguous();
  const half = empty(stored.shape, 'float16');
  const from = stored.contiguous().reshape(-1);
  const to = half.reshape(-1);
  for (let start = 0; start < from.numel; start += chunkElements)
    scope(() => {
      const length = Math.min(chunkElements, from.numel - start);
      const rounded = to.narrow(0, start, length).copy_(from.narrow(0, start, length));
      const largest = rounded.to('float32').abs().max().item();
      if (!Number.isFinite(largest))
        throw new CheckpointError(
          `${source.path}: tensor "${name}" has values that fp16 cannot hold (at most 65504): it cannot be ` +
            'written as a published shard.',
        );
    });
  return half;
}

/** The bits, row by row. */
function writeElements(part: Tensor, sink: (bytes: Uint8Array) => void): void {
  const words = aten['view.dtype'](part.reshape(-1), 'int16');
  for (let start = 0; start < words.numel; start += chunkElements) {
    using some = words.narrow(0, start, Math.min(chunkElements, words.numel - start));
    const { buffer, byteOffset, byteLength } = some.toTypedArray();
    sink(new Uint8Array(buffer, byteOffset, byteLength));
  }
}

/** The files of all ranks, under temporary names until all are complete. */
class ShardFiles {
  readonly #files: { handle: number | undefined; temporary: string; path: string }[] = [];
  /** Appends to each rank's file. */
  readonly sinks: readonly ((bytes: Uint8Array) => void)[];

  constructor(folder: string, degree: number) {
    try {
      for (let rank = 0; rank < degree; rank++) {
        const path = join(folder, `${shardStem(rank)}.pt`);
        const temporary = `${path}.tmp-${process.pid}`;
        this.#files.push({ handle: openSync(temporary, 'w'), temporary, path });
      }
    } catch (error) {
      this.discard();
      throw new CheckpointError(`Cannot write to ${folder}: ${(error as Error).message}`, { cause: error });
    }
    this.sinks = this.#files.map(({ handle }) => (bytes) => {
      // One write may store only a part, for example when the disk is nearly full.
      for (let written = 0; written < bytes.length; ) written += writeSync(handle!, bytes, written);
    });
  }

  publish(): void {
    for (const file of this.#files) {
      fsyncSync(file.handle!);
      closeSync(file.handle!);
      file.handle = undefined;
    }
    for (const { temporary, path } of this.#files) renameSync(temporary, path);
  }

  discard(): void {
    for (const { handle, temporary } of this.#files) {
      if (handle !== undefined) closeSync(handle);
      rmSync(temporary, { force: true });
    }
  }
}
