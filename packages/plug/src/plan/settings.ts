// What a plan is asked with, by the command and by the API: which model, which work.
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { type PlugConfig, paddedVocabSize, plugConfig, plugConfigOfSize, sizeNames } from '../model/index.js';
import { hardwareNames } from './hardware.js';
import type { Work } from './mesh.js';
import {
  type InferencePrecision,
  inferencePrecisions,
  momentsOf,
  type OptimizerName,
  type TrainingDType,
  type TrainingWork,
  trainingDTypes,
} from './work.js';

/** Sizes of one's own. Bounds keep a plan quick: the server answers it between other requests. */
const width = z.int().min(1).max(65_536).optional();
const layers = z.int().max(256).optional();

export const planFields = {
  size: z
    .enum(sizeNames as [string, ...string[]])
    .optional()
    .describe('one of the ladder; without it, without sizes of its own and without a model: all'),
  hiddenSize: width.describe('hidden size in place of that of the size'),
  numAttentionHeads: width.describe('attention heads'),
  intermediateSize: z.int().min(1).max(1_048_576).optional().describe('feed-forward width; 4 × hidden size'),
  numHiddenLayers: layers.unwrap().min(1).optional().describe('encoder layers'),
  decHiddenLayers: layers.unwrap().min(0).optional().describe('decoder layers; none without a size'),
  job: z.enum(['training', 'inference']).default('training').describe('what the model is to do'),
  dtype: z
    .enum(inferencePrecisions)
    .default('bfloat16')
    .describe('training: compute dtype, float32 or bfloat16; inference: of the packed weights'),
  batch: z.int().min(1).optional().describe('texts in a step, over all ranks; default 8 in training, else 1'),
  sourceLength: z.int().min(1).default(512).describe('tokens of each source text'),
  targetLength: z
    .int()
    .min(1)
    .optional()
    .describe('tokens of each target text; default 512 in training, else 128'),
  optimizer: z
    .enum(Object.keys(momentsOf) as [OptimizerName, ...OptimizerName[]])
    .default('adamw')
    .describe(
      'float32 moments kept of each parameter: adamw 2 (what `plug pretrain` has), momentum 1, sgd 0',
    ),
  recompute: z.boolean().default(false).describe('training: compute layers again in the backward pass'),
  data: z.int().min(1).default(1).describe('data-parallel ranks, which share the batch'),
  tensor: z.int().min(1).default(1).describe('tensor-parallel ranks, which share every layer'),
  trainingTokens: z
    .number()
    .positive()
    .default(1e9)
    .describe('source and target tokens of the whole training'),
  hardware: z
    .enum(hardwareNames)
    .optional()
    .describe('only this machine; the command ends with status 1 when it does not fit'),
  vocabSize: z
    .int()
    .min(8)
    .max(10_000_000)
    .default(21128)
    .describe('entries of the vocabulary of a size; the default is that of PLUG'),
  maxPositions: z
    .int()
    .min(1)
    .max(1_048_576)
    .default(2048)
    .describe('longest text of a size in tokens, as published'),
  encoderOnly: z.boolean().default(false).describe('a StructBERT encoder without decoder (stage 1)'),
};

export const planSchema = z.strictObject(planFields);
export type PlanSettings = z.output<typeof planSchema>;

/** A model to plan for. */
export interface PlannedModel {
  readonly title: string;
  readonly config: PlugConfig;
}

const ownSizes = [
  'hiddenSize',
  'numAttentionHeads',
  'intermediateSize',
  'numHiddenLayers',
  'decHiddenLayers',
] as const;
const needed = ['hiddenSize', 'numAttentionHeads', 'numHiddenLayers'] as const;

/**
 * The model that the settings describe; undefined when they name no size and have none of their own.
 * @throws ConfigError when sizes of its own are incomplete or do not fit together
 */
export function modelOf(settings: PlanSettings): PlannedModel | undefined {
  const { size } = settings;
  if (size !== undefined) return { title: size, config: configOfSize(size, settings) };
  const own = changesOf(settings);
  if (Object.keys(own).length === 0) return undefined;
  const missing = needed.find((key) => settings[key] === undefined);
  if (missing)
    throw new ConfigError(
      `${flagOf(missing)} is missing: without --size a model takes ${needed.map(flagOf).join(', ')}.`,
    );
  const vocabulary = {
    vocabSize: paddedVocabSize(settings.vocabSize),
    originalVocabSize: settings.vocabSize,
  };
  return { title: 'own sizes', config: plugConfig({ ...vocabulary, ...own, ...commonOf(settings) }) };
}

/** @throws ConfigError when sizes of its own do not fit together */
export function configOfSize(size: string, settings: PlanSettings): PlugConfig {
  return plugConfigOfSize(size, settings.vocabSize, { ...changesOf(settings), ...commonOf(settings) });
}

function changesOf(settings: PlanSettings): Partial<PlugConfig> {
  return Object.fromEntries(
    ownSizes.map((key) => [key, settings[key]]).filter(([, value]) => value !== undefined),
  );
}

function commonOf({ maxPositions, encoderOnly }: PlanSettings): Partial<PlugConfig> {
  return { maxPositionEmbeddings: maxPositions, ...(encoderOnly ? { decHiddenLayers: 0 } : {}) };
}

/** "hiddenSize" → "--hidden-size". */
function flagOf(key: string): string {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** @throws ConfigError for settings that are not of this work */
export function workOf(settings: PlanSettings): Work {
  const { job, dtype, sourceLength, data, tensor } = settings;
  const mesh = { data, tensor };
  if (job === 'training') return trainingWork(settings);
  if (settings.recompute)
    throw new ConfigError('--recompute is of training: leave it out, or leave out --job inference.');
  const { batch = Math.max(1, data), targetLength = 128 } = settings;
  return { batch, sourceLength, targetLength, precision: dtype satisfies InferencePrecision, mesh };
}

/** @throws ConfigError for a dtype in which a model cannot be trained */
export function trainingWork(settings: PlanSettings): TrainingWork {
  const { dtype, batch = 8, sourceLength, targetLength = 512, optimizer, recompute, data, tensor } = settings;
  if (!(trainingDTypes as readonly string[]).includes(dtype))
    throw new ConfigError(
      `--dtype is ${dtype}, in which a model cannot be trained: use ${trainingDTypes.join(' or ')}, or --job inference.`,
    );
  const mesh = { data, tensor };
  return { batch, sourceLength, targetLength, dtype: dtype as TrainingDType, optimizer, recompute, mesh };
}
