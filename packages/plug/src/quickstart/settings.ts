// The settings of the quickstart, and what each size of it does.
import { z } from 'zod';
import { sizeNames } from '../model/index.js';

export const quickstartSchema = z.strictObject({
  minutes: z.number().positive().default(10).describe('time for the whole, from reading the poems to the report'),
  size: z.enum(sizeNames).default('tiny').describe('model size'),
  out: z.string().default('runs/quickstart').describe('folder; an unfinished quickstart there is continued'),
  seed: z.int().min(0).max(2 ** 31 - 1).default(1).describe('keys every random draw'),
});

export type QuickstartSettings = z.infer<typeof quickstartSchema>;

/** Shares of the time; the rest is for reading, baselines, evaluation and writing poems. */
export const timeShares = { stage1: 0.2, stage2: 0.5, understanding: 0.05, generation: 0.05 } as const;

/**
 * Lengths and optimiser settings for minutes instead of months. Poems are short, so both sides of stage 2 are drawn
 * from [32, 96] and not the published [32, 512]; the initial weights are larger and the learning rate higher than
 * those of the 27B model, as small models need.
 */
export const shortRun = {
  maxLength: 128,
  minSideLength: 32,
  maxSideLength: 96,
  maxPositions: 256,
  initializerRange: 0.02,
  warmupFraction: 0.03,
  beta2: 0.98,
  dropout: 0.1,
} as const;

/** What depends on the size. */
export function sizeDefaults(size: QuickstartSettings['size']): {
  learningRate: number;
  tokensPerBatch: number;
  /** Poems read, counted from the first; undefined for all. */
  poemLimit: number | undefined;
} {
  if (size === 'nano') return { learningRate: 4e-3, tokensPerBatch: 2048, poemLimit: 4000 };
  return { learningRate: size === 'tiny' ? 2e-3 : 1e-3, tokensPerBatch: 2048, poemLimit: undefined };
}
