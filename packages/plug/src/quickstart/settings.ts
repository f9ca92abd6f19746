// The settings of the quickstart, and what each size of it does.
import { z } from 'zod';
import { sizeNames } from '../model/index.js';

export const quickstartSchema = z.strictObject({
  minutes: z
    .number()
    .positive()
    .default(10)
    .describe('time for the whole, from reading the poems to the report'),
  size: z.enum(sizeNames).default('tiny').describe('model size'),
  out: z.string().default('runs/quickstart').describe('folder; an unfinished quickstart there is continued'),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(1)
    .describe('keys every random draw'),
});

export type QuickstartSettings = z.infer<typeof quickstartSchema>;

/** Shares of the time: of each stage, and of each of a task's two trainings. The rest reads, tests and reports. */
export const timeShares = { stage1: 0.12, stage2: 0.58, understanding: 0.045, generation: 0.045 } as const;

/**
 * Lengths and optimiser settings for minutes instead of months. Poems are short, so both sides of stage 2 are drawn
 * from [32, 96] and not the published [32, 512]. Initial weights near 1/√hidden, a high learning rate, small batches
 * and no dropout: measured to learn most in the time (docs/experiments.md); the 27B model's own are other.
 */
export const shortRun = {
  maxLength: 64,
  minSideLength: 32,
  maxSideLength: 96,
  maxPositions: 256,
  initializerRange: 0.08,
  warmupFraction: 0.03,
  beta2: 0.98,
  dropout: 0,
} as const;

/** What depends on the size. The masked LM of stage 1 learns nothing at the rate that is best for stage 2. */
export function sizeDefaults(size: QuickstartSettings['size']): {
  stage1: { learningRate: number; tokensPerBatch: number };
  stage2: { learningRate: number; tokensPerBatch: number };
  finetune: { learningRate: number; tokensPerBatch: number };
  /** Poems read, counted from the first; undefined for all. */
  poemLimit: number | undefined;
} {
  const scale = size === 'nano' || size === 'tiny' ? 1 : 0.5;
  return {
    stage1: { learningRate: 1e-3 * scale, tokensPerBatch: 2048 },
    stage2: { learningRate: 2.5e-3 * scale, tokensPerBatch: 1024 },
    finetune: { learningRate: 5e-4 * scale, tokensPerBatch: 1024 },
    poemLimit: size === 'nano' ? 4000 : undefined,
  };
}
