// A fine-tuning task as data: what the columns of its files are called, which labels there are, what is measured.
// A benchmark of many tasks is a list of such objects; nothing else in this folder knows a task by name.
import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { nearestName } from '../config/index.js';
import { ConfigError } from '../errors.js';

/** Fractions of the settings that a task may have its own defaults for. */
const taskDefaults = z.strictObject({
  epochs: z.int().min(1).optional(),
  learningRate: z.number().positive().optional(),
  maxLength: z.int().min(4).optional(),
  maxTargetLength: z.int().min(2).optional(),
});

const column = z.string().min(1);

/** File names of the splits inside a task's folder; with it, splits that it leaves out are not read from folders. */
const taskFiles = z.strictObject({
  train: z.string().optional(),
  dev: z.string().optional(),
  test: z.string().optional(),
});

/** Classes of pre-training's sentence relation, in the order of the rows of `cls.seq_relationship`. */
export const sentenceClasses = ['next', 'previous', 'random'] as const;

const classificationTask = z
  .strictObject({
    name: column,
    kind: z.literal('classification'),
    columns: z.strictObject({ text: column, textPair: column.optional(), label: column }),
    /** All labels, in the order of the classifier's outputs. Numbers in the data count as their digits. */
    labels: z.array(z.string()).min(2),
    /** Labels of rows to leave out, as `-` where the annotators did not agree. */
    dropLabels: z.array(z.string()).optional(),
    /** What each label was called in pre-training, if it was: the head may start from there. */
    sentenceClasses: z.array(z.enum(sentenceClasses)).optional(),
    /** Chooses the best checkpoint. */
    metric: z.enum(['accuracy', 'macroF1']),
    files: taskFiles.optional(),
    defaults: taskDefaults.optional(),
  })
  .refine(({ labels }) => new Set(labels).size === labels.length, {
    message: 'labels must differ from each other',
  })
  .refine(({ labels, sentenceClasses: classes }) => !classes || classes.length === labels.length, {
    message: 'sentenceClasses must name one class for each label',
  });

const generationTask = z.strictObject({
  name: column,
  kind: z.literal('generation'),
  columns: z.strictObject({ source: column, target: column }),
  /** Chooses the best checkpoint: the LM loss of the targets. */
  metric: z.literal('loss'),
  files: taskFiles.optional(),
  defaults: taskDefaults.optional(),
});

/** Schema of a task file. */
export const taskSchema = z.discriminatedUnion('kind', [classificationTask, generationTask]);

/** One label for a text or a pair of texts. */
export type ClassificationTask = z.infer<typeof classificationTask>;
/** A text written from another. */
export type GenerationTask = z.infer<typeof generationTask>;
export type FinetuneTask = ClassificationTask | GenerationTask;

const pair = { text: 'sentence1', textPair: 'sentence2', label: 'label' };
// CLUE's test files have no labels.
const trainAndDev = { train: 'train.json', dev: 'dev.json' };
const inference = ['entailment', 'neutral', 'contradiction'];

/** Tasks that are known by name; columns and labels as published by CLUE. */
export const builtInTasks: readonly FinetuneTask[] = [
  {
    name: 'ocnli',
    kind: 'classification',
    columns: pair,
    labels: inference,
    dropLabels: ['-'],
    metric: 'accuracy',
    files: { train: 'train.50k.json', dev: 'dev.json' },
    defaults: { maxLength: 128 },
  },
  {
    name: 'cmnli',
    kind: 'classification',
    columns: pair,
    labels: inference,
    dropLabels: ['-'],
    metric: 'accuracy',
    files: trainAndDev,
    defaults: { maxLength: 128 },
  },
  {
    name: 'afqmc',
    kind: 'classification',
    columns: pair,
    labels: ['0', '1'],
    metric: 'accuracy',
    files: trainAndDev,
    defaults: { maxLength: 128 },
  },
  {
    name: 'tnews',
    kind: 'classification',
    columns: { text: 'sentence', label: 'label' },
    // There is no 105 and no 111.
    labels: [
      '100',
      '101',
      '102',
      '103',
      '104',
      '106',
      '107',
      '108',
      '109',
      '110',
      '112',
      '113',
      '114',
      '115',
      '116',
    ],
    metric: 'accuracy',
    files: trainAndDev,
    defaults: { maxLength: 128 },
  },
];

/**
 * The task of a name, or of a JSON file.
 * @throws ConfigError for an unknown name, or a file that is no task
 */
export function findTask(nameOrFile: string): FinetuneTask {
  const builtIn = builtInTasks.find(({ name }) => name === nameOrFile);
  if (builtIn) return builtIn;
  if (existsSync(nameOrFile)) return parseTask(readJson(nameOrFile), nameOrFile);
  const names = builtInTasks.map(({ name }) => name);
  const nearest = nearestName(nameOrFile, names);
  throw new ConfigError(
    `"${nameOrFile}" is neither a known task nor a file. ${nearest ? `Did you mean "${nearest}"? ` : ''}` +
      `Known: ${names.join(', ')}; or give a JSON file with name, kind, columns, labels and metric.`,
  );
}

/** @throws ConfigError naming the field at fault and `where` it stands */
export function parseTask(json: unknown, where: string): FinetuneTask {
  const checked = taskSchema.safeParse(json);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw new ConfigError(`${where} is no task: ${issue?.path.join('.') || 'the object'}: ${issue?.message}.`);
}

/** @throws ConfigError when the file cannot be read as JSON */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${path} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
}
