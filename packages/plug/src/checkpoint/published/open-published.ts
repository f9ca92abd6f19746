// Opens PLUG as it was published: a folder with config.json, vocab.txt and one pickle for each tensor-parallel rank
// (model/mp_rank_XX_model_states.pt). Tensors are merged one by one when they are asked for.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { aten, empty, scope, type Tensor, type TensorInfo } from '@openplug/torch';
import { CheckpointError } from '../../errors.js';
import type { PlugConfig } from '../../model/index.js';
import { readModelConfig } from '../model-folder.js';
import { openTorchCheckpoint, type TorchCheckpoint } from '../pickle/index.js';
import type { OpenedModel, TensorSource } from '../tensor-source.js';
import {
  degreeProblem,
  embeddingName,
  partsOfRank,
  publishedLayout,
  type ShardedParameter,
  shardShape,
  tiedName,
} from './layout.js';

export interface OpenPublishedOptions {
  /** Compare the CRC-32 of everything that is read. Default true. */
  verify?: boolean;
}

const shardName = /^mp_rank_(\d{2,})_model_states\.pt$/;

/** Where the shards of a published folder lie. */
export function shardFolder(folder: string): string {
  return join(folder, 'model');
}

/** "mp_rank_03_model_states". */
export function shardStem(rank: number): string {
  return `mp_rank_${String(rank).padStart(2, '0')}_model_states`;
}

/** Shards in a folder by rank, in their order; none when there is no such folder. */
export function listShards(folder: string): Map<number, string> {
  const shards = new Map<number, string>();
  if (!existsSync(folder)) return shards;
  for (const name of readdirSync(folder)) {
    const match = shardName.exec(name);
    if (!match) continue;
    const rank = Number(match[1]);
    const other = shards.get(rank);
    if (other !== undefined)
      throw new CheckpointError(`${folder} has two files of rank ${rank}: ${other} and ${name}.`);
    shards.set(rank, name);
  }
  return new Map([...shards].sort(([left], [right]) => left - right));
}

/** Whether a folder looks like a published PLUG. */
export function isPublishedPlug(folder: string): boolean {
  return listShards(shardFolder(folder)).size > 0;
}

/**
 * Opens a published PLUG of any tensor-parallel degree. Pickles are read, shapes of all shards checked; elements
 * are read tensor by tensor, which takes the memory of one merged tensor and one part of it.
 * @throws ConfigError for a wrong config.json
 * @throws CheckpointError naming file and tensor when ranks are missing, do not belong together or do not fit config.json.
 * Reading a tensor throws it when a tensor that all ranks hold differs among them, or a checksum does.
 */
export function openPublishedPlug(folder: string, options: OpenPublishedOptions = {}): OpenedModel {
  const stored = readModelConfig(folder);
  const files = listShards(shardFolder(folder));
  if (files.size === 0)
    throw new CheckpointError(
      `${shardFolder(folder)} has no mp_rank_00_model_states.pt; a published PLUG has one such file for each rank.`,
    );
  const shards: OpenShard[] = [];
  const close = (): void => {
    for (const { file } of shards) file[Symbol.dispose]();
  };
  try {
    for (const [rank, name] of files) {
      shards.push(openShard(join(shardFolder(folder), name), rank, options.verify ?? true));
      if (shards.length === 1) checkDegree(shards[0]!, stored, files, folder); // before the others are opened
    }
    const weights = mergedTensors(folder, stored, shards, close);
    const vocabulary = join(folder, 'vocab.txt');
    const hasVocabulary = existsSync(vocabulary);
    const notes: string[] = [];
    if (stored.preLn && !stored.doubleFinalNorm)
      notes.push(
        "double_final_norm was turned on: the published inference code applies the encoder's final LayerNorm twice, " +
          'and outputs match only so. Training code applies it once: turn it off to train further.',
      );
    if (!hasVocabulary) notes.push(`${vocabulary} is missing: the model has no tokenizer.`);
    return {
      kind: `published PLUG, ${shards.length}-way tensor parallel`,
      config: { ...stored, doubleFinalNorm: stored.preLn },
      weights,
      filesBeside: hasVocabulary ? [vocabulary] : [],
      notes,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

interface OpenShard {
  readonly rank: number;
  readonly file: TorchCheckpoint;
  /** What names in this file have in front of the published ones: wrappers of training add "module.". */
  readonly prefix: string;
}

function openShard(path: string, rank: number, verify: boolean): OpenShard {
  const file = openTorchCheckpoint(path, { within: ['module'], verify });
  let prefix = '';
  const names = file.names();
  for (const wrapper of ['module.', 'model.', 'module.'])
    if (names.length > 0 && names.every((name) => name.startsWith(prefix + wrapper))) prefix += wrapper;
  return { rank, file, prefix };
}

/** The number of ranks must be what the first one's share of the vocabulary says. */
function checkDegree(
  first: OpenShard,
  config: PlugConfig,
  files: ReadonlyMap<number, string>,
  folder: string,
): void {
  const { file, prefix } = first;
  if (!file.has(prefix + embeddingName))
    throw new CheckpointError(
      `${file.path} has no tensor "${prefix}${embeddingName}": it is no shard of PLUG.`,
    );
  const [rows = 0] = file.info(prefix + embeddingName).shape;
  const degree = config.vocabSize / rows;
  const found = [...files.keys()];
  const have = `${shardFolder(folder)} has ${found.length}: ${found.join(', ')}`;
  if (!Number.isSafeInteger(degree) || degreeProblem(config, degree))
    throw new CheckpointError(
      `${file.path}: "${embeddingName}" has ${rows} rows, which are no part of the ${config.vocabSize} in config.json ` +
        `("vocab_size"); ${have}.`,
    );
  const missing = Array.from({ length: degree }, (_, rank) => rank).filter((rank) => !files.has(rank));
  const extra = found.filter((rank) => rank >= degree);
  if (missing.length > 0 || extra.length > 0)
    throw new CheckpointError(
      `${file.path} is one of ${degree} shards (${rows} of ${config.vocabSize} vocabulary rows), but ${have}. ` +
        (missing.length > 0 ? `Missing: rank ${missing.join(', ')}.` : `Too many: rank ${extra.join(', ')}.`),
    );
}

function mergedTensors(
  folder: string,
  config: PlugConfig,
  shards: readonly OpenShard[],
  close: () => void,
): TensorSource {
  const layout = new Map(publishedLayout(config).map((parameter) => [parameter.name, parameter]));
  for (const shard of shards) checkShard(shard, shards[0]!, layout, shards.length);
  const path = shardFolder(folder);
  const find = (name: string): ShardedParameter => {
    const parameter = layout.get(name);
    if (parameter) return parameter;
    throw new CheckpointError(`${folder} has no tensor "${name}".`);
  };
  const dtypeOf = (name: string) => shards[0]!.file.info(shards[0]!.prefix + name).dtype;
  return {
    path,
    names: () => [...layout.keys()],
    has: (name) => layout.has(name),
    info: (name): TensorInfo => ({ dtype: dtypeOf(name), shape: [...find(name).shape] }),
    tensor(name) {
      const parameter = find(name);
      if (name === tiedName) checkTied(shards);
      return parameter.split ? merge(parameter, shards) : replicated(name, shards);
    },
    [Symbol.dispose]: close,
  };
}

/** Names, shapes and dtypes of one shard against the configuration and the first shard. */
function checkShard(
  { rank, file, prefix }: OpenShard,
  first: OpenShard,
  layout: ReadonlyMap<string, ShardedParameter>,
  degree: number,
): void {
  const extra = file
    .names()
    .find((name) => !name.startsWith(prefix) || !layout.has(name.slice(prefix.length)));
  if (extra !== undefined)
    throw new CheckpointError(
      `${file.path}: tensor "${extra}" belongs to no part of the configured model. Do num_hidden_layers, ` +
        'dec_hidden_layers and pre_ln in config.json describe this checkpoint?',
    );
  for (const [name, parameter] of layout) {
    const expected = shardShape(parameter, degree);
    if (!file.has(prefix + name))
      throw new CheckpointError(`${file.path}: tensor "${name}" (shape [${expected}]) is missing.`);
    const { shape, dtype } = file.info(prefix + name);
    if (shape.length !== expected.length || shape.some((size, index) => size !== expected[index]))
      throw new CheckpointError(
        `${file.path}: tensor "${name}" has shape [${shape}], expected [${expected}] on each of ${degree} ranks.`,
      );
    const other = first.file.info(first.prefix + name).dtype;
    if (dtype !== other)
      throw new CheckpointError(
        `${file.path}: tensor "${name}" is ${dtype} on rank ${rank} and ${other} on rank ${first.rank}: ` +
          'the shards are not of one model.',
      );
  }
}

/** Each rank's parts, copied to their places; one rank's tensor is held at a time. */
function merge(parameter: ShardedParameter, shards: readonly OpenShard[]): Tensor {
  const { name, shape, split } = parameter;
  if (shards.length === 1) return shards[0]!.file.tensor(shards[0]!.prefix + name);
  return scope(() => {
    const merged = empty(shape, shards[0]!.file.info(shards[0]!.prefix + name).dtype);
    for (const { rank, file, prefix } of shards)
      scope(() => {
        const part = file.tensor(prefix + name);
        for (const [wholeStart, rankStart, length] of partsOfRank(parameter, shards.length, rank))
          merged.narrow(split!.dim, wholeStart, length).copy_(part.narrow(split!.dim, rankStart, length));
      });
    return merged;
  });
}

/** The first rank's tensor, after every other rank was found to hold the same bits. */
function replicated(name: string, shards: readonly OpenShard[]): Tensor {
  const [first, ...others] = shards as [OpenShard, ...OpenShard[]];
  return scope(() => {
    const tensor = first.file.tensor(first.prefix + name);
    const differing = others.filter(({ file, prefix }) =>
      scope(() => !sameBits(tensor, file.tensor(prefix + name))),
    );
    if (differing.length > 0)
      throw new CheckpointError(
        `${first.file.path}: tensor "${name}" must be the same on all ranks, but rank ` +
          `${differing.map(({ rank }) => rank).join(', ')} differs from rank ${first.rank}: the shards are not of one model.`,
      );
    return tensor;
  });
}

/** The output embedding is the word embedding, so each shard must hold the same part of it twice. */
function checkTied(shards: readonly OpenShard[]): void {
  for (const { file, prefix } of shards)
    if (!scope(() => sameBits(file.tensor(prefix + tiedName), file.tensor(prefix + embeddingName))))
      throw new CheckpointError(
        `${file.path}: "${tiedName}" differs from "${embeddingName}", but the two are one tied parameter.`,
      );
}

/** As integers, so that a NaN equals itself. */
function sameBits(left: Tensor, right: Tensor): boolean {
  return aten.equal(
    aten['view.dtype'](left.reshape(-1), 'uint8'),
    aten['view.dtype'](right.reshape(-1), 'uint8'),
  ) as boolean;
}
