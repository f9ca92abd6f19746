// What runs leave in their folders, as far as it is shown, and the answers of the routes. Files may be of another
// version or of other hands: what does not fit is reported, what is unknown left out.
import { z } from 'zod';
import { taskKinds } from '../../finetune/index.js';

const figure = z.number().optional();
/** JSON has no NaN: the error of a single example is null in the files. */
const writtenFigure = z
  .number()
  .nullish()
  .transform((value) => value ?? undefined);

const scoreNames = [
  'accuracy',
  'macroF1',
  'f1',
  'exactMatch',
  'bitsPerCharacter',
  'perplexity',
  'loss',
  'standardError',
] as const;
const textScoreNames = ['bleu4', 'rouge1', 'rouge2', 'rougeL', 'distinct1', 'distinct2'] as const;

function each<Name extends string, Schema extends z.ZodType>(
  names: readonly Name[],
  schema: Schema,
): Record<Name, Schema> {
  return Object.fromEntries(names.map((name) => [name, schema])) as Record<Name, Schema>;
}

const interval = z.object({ low: z.number(), high: z.number() });

/** Scores as `result.json` and `evaluations/NAME.json` have them. */
export const storedScores = z.object({
  ...each(scoreNames, writtenFigure),
  numExamples: z.int().min(0),
  truncated: z.int().min(0).default(0),
  interval: interval.optional().catch(undefined),
  confusion: z
    .array(z.array(z.int().min(0)).max(1000))
    .max(1000)
    .optional(),
});
export type StoredScores = z.output<typeof storedScores>;

const storedTask = z.object({
  name: z.string().min(1).max(200),
  kind: z.enum(taskKinds),
  metric: z.string(),
  labels: z.array(z.string()).max(1000).optional(),
  prompt: z.object({ words: z.array(z.string()) }).optional(),
});
export type StoredTask = z.output<typeof storedTask>;

const storedWritten = z.object({ ...each(textScoreNames, z.number()), numWritten: z.int().min(0) });

export const storedResult = z.object({ dev: storedScores.optional(), test: storedScores.optional() });
export const storedSettings = z.looseObject({
  kind: z.literal('finetune'),
  task: storedTask,
  model: z.string(),
  fromScratch: z.boolean().default(false),
  loraRank: z.int().default(0),
  headOnly: z.boolean().default(false),
});
export const storedEvaluation = z.object({
  task: storedTask,
  model: z.string(),
  files: z.array(z.string()).default([]),
  scores: storedScores,
  written: storedWritten.optional(),
  shots: z.int().min(0).optional(),
});
export const storedTrials = z.object({
  trials: z.array(z.object({ out: z.string(), settings: z.record(z.string(), z.unknown()) })).max(1000),
  best: z.int(),
});

/** What a model was before, and what of it was trained. */
const start = z.object({
  model: z.string().describe('what the run started from'),
  fromScratch: z.boolean().describe('with new weights in its shape'),
  loraRank: z.int().describe('0 without adapters'),
  headOnly: z.boolean(),
});

const listedResult = z.object({
  id: z.string().describe('RUN/SPLIT, to be encoded in addresses'),
  run: z.string().describe('folder below the runs folder'),
  split: z.string().describe('dev, test, or the name of a file'),
  task: storedTask.pick({ name: true, kind: true, metric: true }),
  start,
  figures: z.object({ ...each(scoreNames, figure), ...each(textScoreNames, figure) }),
  interval: interval.optional(),
  numExamples: z.int(),
  truncated: z.int(),
  numWritten: z.int().optional().describe('texts behind BLEU, ROUGE and Distinct'),
  shots: z.int().optional().describe('of a score without a head'),
  trials: z
    .object({
      kind: z
        .enum(['seeds', 'search'])
        .describe('figures are means over seeds, or those of the best settings'),
      standardDeviation: figure.describe('over seeds, of the first figure'),
      members: z.array(z.object({ id: z.string(), value: figure, settings: z.string() })),
      best: z.string().describe('id of the best one'),
    })
    .optional(),
  partOf: z.string().optional().describe('id of the trials that this is one of'),
  hasErrors: z.boolean().describe('whether the wrong predictions can be read'),
  finishedAt: z.iso.datetime(),
});
export type ListedResult = z.output<typeof listedResult>;

export const resultsAnswer = z.object({
  results: z.array(listedResult),
  problems: z
    .array(z.object({ file: z.string(), message: z.string() }))
    .describe('files that cannot be used'),
});

export const resultAnswer = listedResult.extend({
  labels: z.array(z.object({ name: z.string(), word: z.string().optional() })).optional(),
  confusion: z.array(z.array(z.int())).optional().describe('examples by right label and predicted label'),
  settings: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});
export type ResultAnswer = z.output<typeof resultAnswer>;

const boardCell = z.object({
  value: z.number().describe('accuracy in percent'),
  id: z.string().optional().describe('of the result; own rows alone'),
  split: z.string().optional(),
  plusMinus: figure.describe('standard deviation over seeds, else standard error'),
  numSeeds: z.int().optional(),
  bestOf: z.int().optional().describe('runs of the set that are of this task'),
});
export const boardAnswer = z.object({
  tasks: z.array(z.object({ name: z.string(), title: z.string() })),
  rows: z.array(
    z.object({
      name: z.string(),
      own: z.boolean(),
      mean: figure.describe('of the tasks that there are, in percent'),
      missing: z.array(z.string()).describe('tasks without a score; a mean without them cannot be compared'),
      cells: z.record(z.string(), boardCell),
      source: z.string(),
      start: start.optional(),
    }),
  ),
});
export type BoardAnswer = z.output<typeof boardAnswer>;

const errorRow = z.object({
  id: z.union([z.string(), z.number()]),
  input: z.record(z.string(), z.unknown()).describe('the texts that the model read'),
  prediction: z.union([z.string(), z.number()]),
  probability: z.number().optional().describe('of the prediction; absent for written texts'),
  gold: z.unknown().describe('a label, the index of a candidate, answers, or a text'),
});
export const errorsAnswer = z.object({
  total: z.int().describe('rows that fit the question'),
  offset: z.int(),
  limit: z.int(),
  rows: z.array(errorRow),
});
export type ErrorsAnswer = z.output<typeof errorsAnswer>;
export const storedErrorRow = errorRow;

const word = z.string().max(200);
export const errorsQuery = z.strictObject({
  offset: z.coerce.number().int().min(0).max(1e9).default(0),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  label: word.optional().describe('right label'),
  predicted: word.optional().describe('predicted label'),
  search: word.optional().describe('part of a text'),
});
export type ErrorsQuery = z.output<typeof errorsQuery>;
