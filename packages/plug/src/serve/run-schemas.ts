// What the routes of runs take and answer.
import { z } from 'zod';

const scores = z.record(z.string(), z.number());

export const runSummarySchema = z.object({
  id: z.string().describe('path of the run beneath the folder of runs'),
  kind: z.enum(['pretrain', 'finetune']),
  stage: z.int().optional().describe('of pre-training'),
  task: z.string().optional().describe('of fine-tuning'),
  state: z
    .enum(['running', 'finished', 'stopped'])
    .describe('stopped: no new metrics for two minutes; the same command continues it'),
  step: z.int(),
  totalSteps: z.int().optional().describe('where it is known before the end'),
  switchStep: z.int().optional().describe('stage 2: last step with the masked-LM loss'),
  tokensPerSecond: z.number().optional(),
  stepsPerSecond: z.number().optional(),
  secondsLeft: z.number().optional().describe('of training steps; evaluations come on top'),
  loss: z.number().optional().describe('of the last step'),
  evaluation: z.object({ step: z.int(), scores }).optional().describe('the last one'),
  opens: z.enum(['write', 'understand']).optional().describe('what the finished model is for'),
  settings: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  updatedAt: z.iso.datetime(),
});
export const runListSchema = z.object({
  data: z.array(runSummarySchema),
  truncated: z.boolean().describe('there are more runs than are listed'),
});

export const runParamsSchema = z.strictObject({ id: z.string().min(1).max(1024) });
export const metricsQuerySchema = z.strictObject({
  after: z.coerce.number().int().min(0).default(0).describe('only points that end after this step'),
});

const point = z.record(z.string(), z.number()).describe('step, seconds in training, and what was measured');
export const runMetricsSchema = z.object({
  stride: z.int().describe('training steps that one point is the mean of; doubles as a run grows'),
  lastStep: z.int(),
  points: z.array(point),
  evaluations: z.array(point),
});
export const runSamplesSchema = z.object({
  data: z.array(
    z.object({
      step: z.int(),
      samples: z.array(z.object({ source: z.string(), written: z.string(), target: z.string() })),
    }),
  ),
});

export type RunSummary = z.infer<typeof runSummarySchema>;
export type SamplesAt = z.infer<typeof runSamplesSchema>['data'][number];
