// A fine-tuning task as data: what the columns of its files are called, which labels there are, what is measured.
// Those of CLUE and others are in tasks/; nothing else in this folder knows a task by name.
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { layoutNames } from './layouts.js';

/** The settings that a task may have its own defaults for. */
const taskDefaults = z.strictObject({
  epochs: z.int().min(1).optional(),
  learningRate: z.number().positive().optional(),
  maxLength: z.int().min(4).optional(),
  maxTargetLength: z.int().min(2).optional(),
});

/** The name of a column (`target.span1_text` for one that lies deeper), or a template: `{answer}。{context}`. */
const column = z.string().min(1);

/** The name of a file, or of several that are read together. */
const splitFiles = z.union([z.string(), z.array(z.string()).min(1)]);

/** File names of the splits inside a task's folder; with it, splits that it leaves out are not read from folders. */
const taskFiles = z.strictObject({
  train: splitFiles.optional(),
  dev: splitFiles.optional(),
  test: splitFiles.optional(),
});

/** Classes of pre-training's sentence relation, in the order of the rows of `cls.seq_relationship`. */
export const sentenceClasses = ['next', 'previous', 'random'] as const;

/** The file that a benchmark's site takes for this task. */
const submission = z.strictObject({
  /** Whose board it counts for: tasks of one site are told of together. */
  site: z.string().min(1).optional(),
  file: z.string().min(1),
  /** Names that the test file may have which the site scores, the one to prefer first; default: any with the word "test". */
  test: z.array(z.string().min(1)).min(1).optional(),
  /** The site has a second board of several files, one for each training split: `file` with `_PART` before its ending. */
  parts: z.array(z.string().min(1)).min(2).optional(),
  /** `lines`: one JSON object a line, with `id` and the prediction under `key` (default `label`). `map`: one object from ids to predictions. */
  form: z.enum(['lines', 'map']),
  key: z.enum(['label', 'answer']).optional(),
});

const common = {
  name: z.string().min(1),
  submission: submission.optional(),
  files: taskFiles.optional(),
  defaults: taskDefaults.optional(),
};

/** Column that names a row in predictions; default: its number. */
const id = column.optional();

/** How a label is told in words, for zero and few examples: the encoder reads `source`, the decoder writes a word. */
const prompt = z.strictObject({
  /** What the encoder reads: `{text}` and `{textPair}` stand for the example's. */
  source: z.string().min(1),
  /** What stands in front of the word in the decoder. */
  before: z.string().optional(),
  /** A word or phrase for each label, in their order. */
  words: z.array(z.string().min(1)).min(2),
});

const classificationTask = z
  .strictObject({
    ...common,
    kind: z.literal('classification'),
    columns: z.strictObject({ text: column, textPair: column.optional(), label: column, id }),
    /** Characters to put around parts of `text`. */
    marks: z
      .array(z.strictObject({ text: column, at: column, before: z.string(), after: z.string() }))
      .optional(),
    /** All labels, in the order of the classifier's outputs. Numbers in the data count as their digits. */
    labels: z.array(z.string()).min(2),
    /** Labels of rows to leave out, as `-` where the annotators did not agree. */
    dropLabels: z.array(z.string()).optional(),
    /** What each label was called in pre-training, if it was: the head may start from there. */
    sentenceClasses: z.array(z.enum(sentenceClasses)).optional(),
    prompt: prompt.optional(),
    /** Chooses the best checkpoint. */
    metric: z.enum(['accuracy', 'macroF1']),
  })
  .refine(({ labels, prompt: asked }) => !asked || asked.words.length === labels.length, {
    message: 'prompt.words must have one word for each label',
  })
  .refine(({ prompt: asked }) => !asked || new Set(asked.words).size === asked.words.length, {
    message: 'prompt.words must differ from each other',
  })
  .refine(({ labels }) => new Set(labels).size === labels.length, {
    message: 'labels must differ from each other',
  })
  .refine(({ labels, sentenceClasses: classes }) => !classes || classes.length === labels.length, {
    message: 'sentenceClasses must name one class for each label',
  });

const choiceTask = z.strictObject({
  ...common,
  kind: z.literal('choice'),
  layout: z.enum(layoutNames).optional(),
  columns: z.strictObject({
    text: column,
    /** What each candidate is read with, as in `{question}{candidate}`; default: the candidate alone. */
    candidate: column.optional(),
    /** A column with a list, or one column for each candidate. */
    candidates: z.union([column, z.array(column).min(2)]),
    /** The right candidate: its index from 0, or its text. */
    answer: column,
    id,
  }),
  /** A place in the text to put the candidate into. Without it the candidate is the second text of a pair. */
  place: z.string().min(1).optional(),
  metric: z.literal('accuracy'),
});

const spanTask = z.strictObject({
  ...common,
  kind: z.literal('span'),
  layout: z.enum(layoutNames).optional(),
  columns: z.strictObject({
    question: column,
    context: column,
    answer: column,
    /** Index of the answer's first character in the context. */
    answerStart: column,
    /** A list of all answers that count as right; default: the one. */
    answers: column.optional(),
    id,
  }),
  metric: z.enum(['f1', 'exactMatch']),
});

const generationTask = z.strictObject({
  ...common,
  kind: z.literal('generation'),
  layout: z.enum(layoutNames).optional(),
  columns: z.strictObject({ source: column, target: column, id }),
  /** Chooses the best checkpoint: the LM loss of the targets. */
  metric: z.literal('loss'),
});

/** Schema of a task file. */
export const taskSchema = z.discriminatedUnion('kind', [
  classificationTask,
  choiceTask,
  spanTask,
  generationTask,
]);

/** One label for a text or a pair of texts. */
export type ClassificationTask = z.infer<typeof classificationTask>;
/** One of several candidates for a text. */
export type ChoiceTask = z.infer<typeof choiceTask>;
/** A part of a text that answers a question. */
export type SpanTask = z.infer<typeof spanTask>;
/** A text written from another. */
export type GenerationTask = z.infer<typeof generationTask>;
export type FinetuneTask = ClassificationTask | ChoiceTask | SpanTask | GenerationTask;
export type TaskKind = FinetuneTask['kind'];
export const taskKinds = ['classification', 'choice', 'span', 'generation'] as const satisfies TaskKind[];
/** Words for labels. */
export type TaskPrompt = z.infer<typeof prompt>;

/** @throws ConfigError naming the field at fault and `where` it stands */
export function parseTask(json: unknown, where: string): FinetuneTask {
  const checked = taskSchema.safeParse(json);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw new ConfigError(`${where} is no task: ${issue?.path.join('.') || 'the object'}: ${issue?.message}.`);
}
