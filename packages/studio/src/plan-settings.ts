// The fields of the calculator, and the request that they make.
import type { PlanRequest } from './model-api.js';

/** Sizes of the ladder, as `plug plan` lists them. */
export const SIZES = ['nano', 'tiny', 'mini', 'small', 'base', 'large', '1b', '3b', '7b', '27b'] as const;
export const DTYPES = {
  training: ['bfloat16', 'float32'],
  inference: ['bfloat16', 'int8', 'int4', 'float32'],
} as const;

export interface PlanFields {
  /** A name of the ladder, "this" for the served model, "own" for the numbers below. */
  size: string;
  numHiddenLayers: number;
  decHiddenLayers: number;
  hiddenSize: number;
  numAttentionHeads: number;
  job: PlanRequest['job'];
  dtype: string;
  batch: number;
  sourceLength: number;
  targetLength: number;
  data: number;
  tensor: number;
  /** Hundreds of millions: the unit that Chinese counts in. */
  trainingTokens: number;
  recompute: boolean;
}

export type PlanNumber = {
  [Key in keyof PlanFields]: PlanFields[Key] extends number ? Key : never;
}[keyof PlanFields];

/** What was published: 27B on 400 billion tokens. */
export const PLAN_DEFAULTS: PlanFields = {
  size: '27b',
  numHiddenLayers: 32,
  decHiddenLayers: 8,
  hiddenSize: 5120,
  numAttentionHeads: 40,
  job: 'training',
  dtype: 'bfloat16',
  batch: 512,
  sourceLength: 512,
  targetLength: 512,
  data: 8,
  tensor: 16,
  trainingTokens: 4000,
  recompute: true,
};

/** Usual work of the other job, which has sizes of its own. */
export function withJob(fields: PlanFields, job: PlanRequest['job']): PlanFields {
  return job === 'training'
    ? { ...fields, job, dtype: 'bfloat16', batch: 512, targetLength: 512, data: 8, tensor: 16 }
    : { ...fields, job, dtype: 'int4', batch: 1, targetLength: 128, data: 1, tensor: 1 };
}

/** A size's usual work: smaller ones need no mesh. The served model takes only as much as it has positions for. */
export function withSize(fields: PlanFields, size: string, positions: number | undefined): PlanFields {
  const isLarge = ['3b', '7b', '27b', 'own'].includes(size);
  const training = fields.job === 'training';
  const sourceLength = size === 'this' ? Math.min(512, positions ?? 512) : 512;
  return {
    ...fields,
    size,
    sourceLength,
    targetLength: Math.min(training ? 512 : 128, sourceLength),
    batch: training ? (isLarge ? 512 : 32) : 1,
    data: training && isLarge ? 8 : 1,
    tensor: training && isLarge ? (size === '27b' ? 16 : 8) : 1,
  };
}

export function planRequest(fields: PlanFields, model: string): PlanRequest {
  const { size, numHiddenLayers, decHiddenLayers, hiddenSize, numAttentionHeads, recompute, ...work } =
    fields;
  const own = { numHiddenLayers, decHiddenLayers, hiddenSize, numAttentionHeads };
  return {
    ...(size === 'this' ? { model } : size === 'own' ? own : { size }),
    ...work,
    trainingTokens: work.trainingTokens * 1e8,
    ...(work.job === 'training' && recompute && { recompute }),
  };
}
