// Settings that every training has, to spread into a command's schema; what differs is overridden there.
import { z } from 'zod';

export const trainingFields = {
  out: z.string().describe('run folder; an unfinished run there is continued'),
  accumulationSteps: z.int().min(1).default(1).describe('micro-batches whose gradients make one step'),
  weightDecay: z.number().min(0).default(0.01).describe('AdamW weight decay, not on biases and LayerNorm'),
  beta2: z.number().min(0).lt(1).default(0.999).describe('AdamW decay of the second moment'),
  clipGradNorm: z.number().positive().default(1).describe('largest global gradient norm'),
  dtype: z
    .enum(['auto', 'float32', 'bfloat16'])
    .default('auto')
    .describe('compute dtype; auto takes bfloat16 where the CPU has instructions for it'),
  recomputeLayers: z
    .boolean()
    .default(false)
    .describe('keep no activations inside layers: less memory, more time'),
  threads: z.int().min(1).optional().describe('CPU threads; default: all cores'),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(1)
    .describe('keys every random draw'),
  saveEvery: z.int().min(1).default(500).describe('steps between checkpoints'),
} as const;
