// What is planned: a model, what is done with it, and on which mesh.
import { ConfigError } from '../errors.js';
import { decoderConfig, type PlugConfig } from '../model/index.js';

/** Dtypes in which a model can be trained: parameters, gradients and moments stay in float32. */
export const trainingDTypes = ['float32', 'bfloat16'] as const;
export type TrainingDType = (typeof trainingDTypes)[number];

/** How weights are stored for inference. */
export const inferencePrecisions = ['float32', 'bfloat16', 'int8', 'int4'] as const;
export type InferencePrecision = (typeof inferencePrecisions)[number];

/** float32 moments that an optimiser keeps of each parameter. `AdamW` is the one that training here has. */
export const momentsOf = { adamw: 2, momentum: 1, sgd: 0 } as const;
export type OptimizerName = keyof typeof momentsOf;

/** Ranks: each data-parallel one takes a share of the batch, each tensor-parallel one a share of every layer. */
export interface Mesh {
  readonly data: number;
  readonly tensor: number;
}

/** Texts that go through the model together. */
export interface Batch {
  /** Texts in a step, over all ranks. */
  readonly batch: number;
  /** Tokens of each source text. */
  readonly sourceLength: number;
  /** Tokens of each target text: learned from, or written. Not used by an encoder alone. */
  readonly targetLength: number;
}

export interface TrainingWork extends Batch {
  readonly dtype: TrainingDType;
  readonly optimizer: OptimizerName;
  readonly recompute: boolean;
  readonly mesh: Mesh;
  /** Parameters that are trained beside a frozen model, as adapters are. Absent: all of the model is trained. */
  readonly trained?: number | undefined;
}

export interface InferenceWork extends Batch {
  readonly precision: InferencePrecision;
  readonly mesh: Mesh;
}

/** Share of the source tokens that the masked LM learns from. */
export const maskedFraction = 0.15;

/** Tokens of one rank in one step. */
export interface RankTokens {
  readonly rows: number;
  readonly source: number;
  readonly target: number;
  /** Labelled source tokens. */
  readonly labels: number;
}

export function rankTokens(
  config: PlugConfig,
  { batch, sourceLength, targetLength }: Batch,
  mesh: Mesh,
): RankTokens {
  const rows = Math.ceil(batch / mesh.data);
  return {
    rows,
    source: rows * sourceLength,
    target: config.decHiddenLayers > 0 ? rows * targetLength : 0,
    labels: rows * Math.round(maskedFraction * sourceLength),
  };
}

/** @throws ConfigError when the model has too few positions, or the mesh does not divide it or the batch */
export function checkWork(
  config: PlugConfig,
  { batch, sourceLength, targetLength }: Batch,
  mesh: Mesh,
): void {
  for (const [flag, length] of [
    ['--source-length', sourceLength],
    ['--target-length', config.decHiddenLayers > 0 ? targetLength : 1],
  ] as const)
    if (length > config.maxPositionEmbeddings)
      throw new ConfigError(
        `${flag} is ${length}, but this model has ${config.maxPositionEmbeddings} positions: give shorter texts or --max-positions.`,
      );
  if (mesh.data > batch)
    throw new ConfigError(
      `--data is ${mesh.data}, but --batch has only ${batch} texts to share out: raise --batch or lower --data.`,
    );
  const wrong = indivisible(config, mesh.tensor);
  if (wrong)
    throw new ConfigError(
      `--tensor is ${mesh.tensor}, which does not divide this model's ${wrong}: use ${tensorDegrees(config).join(', ')}.`,
    );
}

/** Degrees of tensor parallelism up to 64 that divide a model, powers of two. */
export function tensorDegrees(config: PlugConfig): number[] {
  return [1, 2, 4, 8, 16, 32, 64].filter((degree) => indivisible(config, degree) === undefined);
}

function indivisible(config: PlugConfig, tensor: number): string | undefined {
  const sizes = {
    heads: config.numAttentionHeads,
    'heads of the decoder': decoderConfig(config).numAttentionHeads,
    'feed-forward width': config.intermediateSize,
    'feed-forward width of the decoder': decoderConfig(config).intermediateSize,
    'vocabulary rows': config.vocabSize,
  };
  const found = Object.entries(sizes).find(([, size]) => size % tensor !== 0);
  return found && `${found[0]} (${found[1]})`;
}
