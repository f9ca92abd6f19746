// Batches that fit the memory: a step of as many tokens, in smaller micro-batches whose gradients are summed.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { countAdapters, type PlugConfig } from '../model/index.js';
import { processBytes, type TrainingDType, trainingMemory } from '../plan/index.js';
import type { ResolvedFinetuneSettings } from './settings.js';

/** How a step is divided. */
export interface StepBatches {
  /** Tokens of a micro-batch at most. */
  tokensPerBatch: number;
  accumulationSteps: number;
}

export interface FittedWork extends StepBatches {
  dtype: TrainingDType;
  recomputeLayers: boolean;
  /** Longest example in tokens: no micro-batch can be smaller. */
  longest: number;
  /** Parameters that are trained beside a frozen model; absent: all of the model is trained. */
  trained?: number | undefined;
}

/** What is trained in place of the model; undefined when all of it is. A head alone is next to nothing. */
export function trainedBeside(
  config: PlugConfig,
  settings: Pick<
    ResolvedFinetuneSettings,
    'headOnly' | 'loraRank' | 'loraTargets' | 'promptOnly' | 'promptTokens'
  >,
): number | undefined {
  if (settings.headOnly) return 0;
  if (settings.promptOnly) return settings.promptTokens * config.hiddenSize;
  if (settings.loraRank === 0) return undefined;
  return countAdapters(config, { rank: settings.loraRank, targets: settings.loraTargets });
}

/** Share of the memory that is free which training may plan with: the plan is within a tenth, and others run too. */
const usableShare = 0.8;

/**
 * Halves micro-batches until the planned memory fits.
 * @param freeBytes what the machine has free
 */
export function fitBatch(config: PlugConfig, work: FittedWork, freeBytes: number): StepBatches {
  let { tokensPerBatch, accumulationSteps } = work;
  while (
    tokensPerBatch / 2 >= work.longest &&
    plannedBytes(config, work, tokensPerBatch) > usableShare * freeBytes
  ) {
    tokensPerBatch = Math.floor(tokensPerBatch / 2);
    accumulationSteps *= 2;
  }
  return { tokensPerBatch, accumulationSteps };
}

/** Beyond what the process has already. */
function plannedBytes(
  config: PlugConfig,
  { dtype, recomputeLayers, longest, trained }: FittedWork,
  tokens: number,
): number {
  const targetLength = config.decHiddenLayers > 0 ? Math.ceil(longest / 2) : 1;
  const sourceLength = config.decHiddenLayers > 0 ? Math.ceil(longest / 2) : longest;
  const work = {
    batch: Math.max(1, Math.ceil(tokens / longest)),
    sourceLength,
    targetLength,
    dtype,
    optimizer: 'adamw',
    recompute: recomputeLayers,
    mesh: { data: 1, tensor: 1 },
    trained,
  } as const;
  return trainingMemory(config, work).total - processBytes;
}

/**
 * How an earlier start of the run divided its steps, if they had as many tokens: a continued run must divide them in the
 * same way, however much memory is free now.
 */
export function batchesOfRun(out: string, asked: StepBatches): StepBatches | undefined {
  const path = join(out, 'settings.json');
  if (!existsSync(path)) return undefined;
  const { tokensPerBatch, accumulationSteps } = JSON.parse(readFileSync(path, 'utf8')) as StepBatches;
  const isSame = tokensPerBatch * accumulationSteps === asked.tokensPerBatch * asked.accumulationSteps;
  return isSame ? { tokensPerBatch, accumulationSteps } : undefined;
}
