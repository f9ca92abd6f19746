// A plan: what a model takes before anything starts, and the table of all sizes.
import { ConfigError } from '../errors.js';
import { countParameters, type PlugConfig, sizeNames } from '../model/index.js';
import { type Hardware, hardwareNames, hardwareTable } from './hardware.js';
import { diskBytes, inferenceMemory, storageFormats } from './inference-memory.js';
import { remedies, smallestMesh, type Work } from './mesh.js';
import { decodingOperations, encodingOperations, trainingOperations } from './operations.js';
import { countByPart } from './parameters.js';
import {
  configOfSize,
  modelOf,
  type PlannedModel,
  type PlanSettings,
  trainingWork,
  workOf,
} from './settings.js';
import { inferenceTime, tokensPerStep, trainingTime } from './time.js';
import { trainingMemory } from './training-memory.js';
import { checkWork, type TrainingWork } from './work.js';

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

/**
 * All that is known of a model, or, where the settings name none and none is given, the table of all sizes.
 * @param given in place of the sizes in the settings
 * @param measured a machine to reckon with before those of the table
 * @throws ConfigError for settings that do not go together, or do not fit the model
 */
export function makePlan(
  settings: PlanSettings,
  { given, measured }: { given?: PlannedModel | undefined; measured?: Hardware | undefined } = {},
): Plan | Ladder {
  const model = modelOf(settings);
  if (model && given)
    throw new ConfigError(`Both ${given.title} and sizes (${model.title}) were given: give one of them.`);
  const chosen = given ?? model;
  return chosen ? planFor(settings, chosen, measured) : ladder(settings);
}

function planFor(
  settings: PlanSettings,
  { title, config }: PlannedModel,
  measured: Hardware | undefined,
): Plan {
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
    hardware: machines(settings, measured).map((hardware) =>
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
  const smallest = smallestMesh(config, work, memoryBytes);
  const common = {
    hardware,
    fits,
    spareBytes: memoryBytes - total,
    smallestMesh: smallest,
    remedies: fits ? [] : remedies(config, work, memoryBytes, smallest),
  };
  if (!('dtype' in work)) return { ...common, inference: inferenceTime(config, work, hardware) };
  const time = trainingTime(config, work, hardware);
  return { ...common, training: { ...time, days: tokens / time.tokensPerSecond / 86_400 } };
}

function machines({ hardware }: PlanSettings, measured: Hardware | undefined): Hardware[] {
  const named = (hardware === undefined ? hardwareNames : [hardware]).map((name) => hardwareTable[name]);
  return measured ? [measured, ...named] : named;
}

function ladder(settings: PlanSettings): Ladder {
  const work = trainingWork(settings.job === 'inference' ? { ...settings, dtype: 'bfloat16' } : settings);
  const rows = sizeNames.map((size): LadderRow => {
    const config = configOfSize(size, settings);
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
