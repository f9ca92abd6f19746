// `plug plan`: what a size takes before anything starts: parameters, memory, operations, time, disk, and the mesh.
import type { Command } from 'commander';
import { z } from 'zod';
import { readModelConfig, resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { countParameters, type PlugConfig, plugConfigOfSize, sizeNames } from '../model/index.js';
import {
  checkWork,
  countByPart,
  decodingOperations,
  diskBytes,
  encodingOperations,
  type Hardware,
  hardwareNames,
  hardwareTable,
  type InferencePrecision,
  inferenceMemory,
  inferencePrecisions,
  inferenceTime,
  momentsOf,
  type OptimizerName,
  remedies,
  smallestMesh,
  storageFormats,
  type TrainingDType,
  type TrainingWork,
  tokensPerStep,
  trainingDTypes,
  trainingMemory,
  trainingOperations,
  trainingTime,
  type Work,
} from '../plan/index.js';
import { defineCommand } from './command.js';
import { EXIT } from './output.js';
import { measureHardware } from './plan-measure.js';
import { renderLadder, renderPlan } from './plan-tables.js';

const schema = z.strictObject({
  size: z
    .enum(sizeNames as [string, ...string[]])
    .optional()
    .describe('one of the ladder; without it and without a folder: all'),
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
  hardware: z.enum(hardwareNames).optional().describe('only this machine; status 1 when it does not fit'),
  measure: z.boolean().default(false).describe('measure this machine too (a second), and reckon with it'),
  vocabSize: z
    .int()
    .min(8)
    .default(21128)
    .describe('entries of the vocabulary of a size; the default is that of PLUG'),
  maxPositions: z.int().min(1).default(2048).describe('longest text of a size in tokens, as published'),
  encoderOnly: z.boolean().default(false).describe('a StructBERT encoder without decoder (stage 1)'),
});

type Settings = z.output<typeof schema>;

/** A machine with what is planned on it. */
export interface HardwarePlan {
  hardware: Hardware;
  /** Whether one rank's memory fits. */
  fits: boolean;
  /** Bytes that are left, or missing when negative. */
  spareBytes: number;
  smallestMesh: { data: number; tensor: number } | undefined;
  training?: { secondsPerStep: number; tokensPerSecond: number; days: number };
  inference?: { encodeSeconds: number; tokensPerSecond: number };
  /** What would make it fit. */
  remedies: readonly { flags: string; total: number }[];
}

/** All that is known of one configuration. */
export interface Plan {
  title: string;
  config: PlugConfig;
  parameters: Record<string, number> & { total: number };
  work: Work;
  /** Bytes of one rank by kind, `total` last, and in training the moment when it is so. */
  memory: Record<string, number | string>;
  /** Floating-point operations. */
  operations: Record<string, number>;
  /** Bytes by format. */
  disk: Record<string, number>;
  trainingTokens: number;
  hardware: HardwarePlan[];
}

/** A row of the table of all sizes. */
export interface LadderRow {
  size: string;
  config: PlugConfig;
  parameters: number;
  disk: Record<string, number>;
  trainingBytes: number;
  recomputingBytes: number;
}

export interface Ladder {
  work: TrainingWork;
  rows: LadderRow[];
}

export function registerPlan(program: Command): void {
  defineCommand<typeof schema, Plan | Ladder>(program, {
    name: 'plan',
    summary: 'say what a size takes: parameters, memory, operations, time, disk, mesh',
    description:
      'Without a size and a folder: a table of all sizes. Nothing is loaded or started. Training and writing on a mesh or a GPU are reckoned, but not there yet.',
    words: [{ name: '[folder]', description: 'model folder, or the folder of a run, in place of --size' }],
    schema,
    examples: [
      ['plug plan', 'all sizes in one table'],
      ['plug plan --size base --batch 16 --recompute --measure', 'training on this machine'],
      [
        'plug plan --size 27b --job inference --dtype int4 --hardware cpu-2',
        'whether 27B writes on two cores',
      ],
    ],
    run: ({ settings, words }) =>
      settings.size === undefined && words[0] === undefined ? ladder(settings) : planFor(settings, words[0]),
    render: (result) => ('rows' in result ? renderLadder(result) : renderPlan(result)),
    exitStatus: (result) =>
      'hardware' in result && result.hardware.length === 1 && !result.hardware[0]!.fits
        ? EXIT.failure
        : EXIT.ok,
  });
}

function planFor(settings: Settings, folder: string | undefined): Plan {
  const { title, config } = configOf(settings, folder);
  const work = workOf(settings);
  checkWork(config, work, work.mesh);
  const training = 'dtype' in work;
  const memory = training ? trainingMemory(config, work) : inferenceMemory(config, work);
  const operations: Record<string, number> = training
    ? {
        perStep: trainingOperations(config, work, work),
        perToken: trainingOperations(config, work, work) / tokensPerStep(config, work),
      }
    : {
        perSourceToken: encodingOperations(config, work) / (work.batch * work.sourceLength),
        ...(config.decHiddenLayers > 0 && { perTokenWritten: decodingOperations(config, work) / work.batch }),
      };
  return {
    title,
    config,
    parameters: { ...countByPart(config), total: countParameters(config) },
    work,
    memory: { ...memory },
    operations,
    disk: diskOf(config),
    trainingTokens: settings.trainingTokens,
    hardware: machines(settings).map((hardware) =>
      onHardware(config, work, hardware, memory.total, settings.trainingTokens),
    ),
  };
}

function onHardware(
  config: PlugConfig,
  work: Work,
  hardware: Hardware,
  total: number,
  tokens: number,
): HardwarePlan {
  const { memoryBytes } = hardware;
  const fits = total <= memoryBytes;
  const common = {
    hardware,
    fits,
    spareBytes: memoryBytes - total,
    smallestMesh: smallestMesh(config, work, memoryBytes),
    remedies: fits ? [] : remedies(config, work, memoryBytes),
  };
  if (!('dtype' in work)) return { ...common, inference: inferenceTime(config, work, hardware) };
  const time = trainingTime(config, work, hardware);
  return { ...common, training: { ...time, days: tokens / time.tokensPerSecond / 86_400 } };
}

function machines({ hardware, measure }: Settings): Hardware[] {
  const named = (hardware === undefined ? hardwareNames : [hardware]).map((name) => hardwareTable[name]);
  return measure ? [measureHardware(), ...named] : named;
}

function configOf(settings: Settings, folder: string | undefined): { title: string; config: PlugConfig } {
  if (folder === undefined) return { title: settings.size!, config: sizeConfig(settings.size!, settings) };
  if (settings.size !== undefined)
    throw new ConfigError(
      `Both the folder ${folder} and --size ${settings.size} were given: give one of them.`,
    );
  const found = resolveModelFolder(folder);
  return { title: found, config: readModelConfig(found) };
}

function sizeConfig(size: string, { vocabSize, maxPositions, encoderOnly }: Settings): PlugConfig {
  return plugConfigOfSize(size, vocabSize, {
    maxPositionEmbeddings: maxPositions,
    ...(encoderOnly ? { decHiddenLayers: 0 } : {}),
  });
}

function workOf(settings: Settings): Work {
  const { job, dtype, sourceLength, data, tensor } = settings;
  const mesh = { data, tensor };
  if (job === 'training') return trainingWork(settings);
  if (settings.recompute)
    throw new ConfigError('--recompute is of training: leave it out, or leave out --job inference.');
  const { batch = Math.max(1, data), targetLength = 128 } = settings;
  return { batch, sourceLength, targetLength, precision: dtype satisfies InferencePrecision, mesh };
}

function trainingWork(settings: Settings): TrainingWork {
  const { dtype, batch = 8, sourceLength, targetLength = 512, optimizer, recompute, data, tensor } = settings;
  if (!(trainingDTypes as readonly string[]).includes(dtype))
    throw new ConfigError(
      `--dtype is ${dtype}, in which a model cannot be trained: use ${trainingDTypes.join(' or ')}, or --job inference.`,
    );
  const mesh = { data, tensor };
  return { batch, sourceLength, targetLength, dtype: dtype as TrainingDType, optimizer, recompute, mesh };
}

function ladder(settings: Settings): Ladder {
  const work = trainingWork(settings.job === 'inference' ? { ...settings, dtype: 'bfloat16' } : settings);
  const rows = sizeNames.map((size): LadderRow => {
    const config = sizeConfig(size, settings);
    checkWork(config, work, { data: 1, tensor: 1 });
    const bytes = (recompute: boolean): number =>
      trainingMemory(config, { ...work, recompute, mesh: { data: 1, tensor: 1 } }).total;
    return {
      size,
      config,
      parameters: countParameters(config),
      disk: diskOf(config),
      trainingBytes: bytes(false),
      recomputingBytes: bytes(true),
    };
  });
  return { work, rows };
}

function diskOf(config: PlugConfig): Record<string, number> {
  return Object.fromEntries(storageFormats.map((format) => [format, diskBytes(config, format)]));
}
