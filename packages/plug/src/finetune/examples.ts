// Examples of a task from the rows of its files. A row that does not fit the task stops everything: silently dropped
// rows would change what a score means.
import { ConfigError, CorpusError } from '../errors.js';
import { layoutOf, rowsOf } from './layouts.js';
import { type Row, withAllFaults } from './rows.js';
import type { ChoiceTask, ClassificationTask, FinetuneTask, SpanTask } from './task.js';
import { columnValue, marked, textOf, unfit } from './template.js';

/** What all inputs have. */
interface Identified {
  /** Name of the row in predictions. Default: its index. */
  id?: string | number;
}

/** A text or a pair of texts. */
export interface ClassificationInput extends Identified {
  text: string;
  textPair?: string;
}

/** With the index of its label in the task's `labels`. */
export interface ClassificationExample extends ClassificationInput {
  label: number;
}

/** A text with candidates for it. */
export interface ChoiceInput extends Identified {
  text: string;
  candidates: readonly string[];
}

/** One of which is right. */
export interface ChoiceExample extends ChoiceInput {
  /** Index of the right candidate. */
  answer: number;
}

/** A question on a text. */
export interface SpanInput extends Identified {
  question: string;
  context: string;
}

/** With the part of the text that answers it. */
export interface SpanExample extends SpanInput {
  answer: string;
  /** Where the answer begins in the context, in UTF-16 units. */
  answerStart: number;
  /** All answers that count as right. */
  answers: readonly string[];
}

/** A source. */
export interface GenerationInput extends Identified {
  source: string;
}

/** With the text to be written from it. */
export interface GenerationExample extends GenerationInput {
  target: string;
}

export type TaskInput = ClassificationInput | ChoiceInput | SpanInput | GenerationInput;
export type TaskExample = ClassificationExample | ChoiceExample | SpanExample | GenerationExample;

export type ExampleOf<Task extends FinetuneTask> = Extract<
  | { kind: 'classification'; example: ClassificationExample }
  | { kind: 'choice'; example: ChoiceExample }
  | { kind: 'span'; example: SpanExample }
  | { kind: 'generation'; example: GenerationExample },
  { kind: Task['kind'] }
>['example'];

/** Examples by split. Without dev examples there is no early stopping, and the last model is kept. */
export interface FinetuneData<Example> {
  train: readonly Example[];
  dev?: readonly Example[];
  test?: readonly Example[];
}

/** What was read from files. */
export interface ReadExamples<Example> {
  examples: Example[];
  /** Where each was read. */
  places: string[];
  /** Rows left out because of the task's `dropLabels`. */
  dropped: number;
}

/**
 * Reads the examples of a task.
 * @throws CorpusError naming file and row when a row has no such column, an empty text, or an unknown label; of several
 * the first, with their number
 */
export async function readExamples<Task extends FinetuneTask>(
  paths: readonly string[],
  task: Task,
): Promise<ReadExamples<ExampleOf<Task>>> {
  const examples: TaskExample[] = [];
  const places: string[] = [];
  const rows = await identified(paths, task);
  const made = withAllFaults(rows, ({ row, id }) => {
    const example = exampleOf(row, task);
    return example && { id, ...example };
  });
  for (const [index, example] of made.entries())
    if (example) {
      examples.push(example);
      places.push(rows[index]!.row.where);
    }
  return { examples: examples as ExampleOf<Task>[], places, dropped: rows.length - examples.length };
}

/**
 * Reads rows without their labels, if they have any: for predictions.
 * @param needIds refuse rows without the task's id column, in place of numbering them. Default false.
 * @throws CorpusError as `readExamples`, but not for what concerns labels
 */
export async function readInputs(
  paths: readonly string[],
  task: FinetuneTask,
  { needIds = false }: { needIds?: boolean } = {},
): Promise<TaskInput[]> {
  const rows = await identified(paths, task);
  const { id: column } = task.columns;
  return withAllFaults(rows, ({ row, id }) => {
    if (needIds && column !== undefined && columnValue(row, column) === undefined)
      throw unfit(row, column, 'the id that the site knows the row by');
    return { id, ...inputOf(row, task) };
  });
}

async function identified(
  paths: readonly string[],
  task: FinetuneTask,
): Promise<{ row: Row; id: string | number }[]> {
  const layout = layoutOf(task);
  const rows: Row[] = [];
  for (const path of paths) rows.push(...(await rowsOf(path, layout)));
  if (paths.length > 0 && rows.length === 0)
    throw new CorpusError(`${paths.join(', ')}: there is no example in it.`);
  return rows.map((row, index) => {
    const id = task.columns.id === undefined ? undefined : columnValue(row, task.columns.id);
    return { row, id: typeof id === 'string' || typeof id === 'number' ? id : index };
  });
}

/** Undefined for a label that the task drops. */
function exampleOf(row: Row, task: FinetuneTask): TaskExample | undefined {
  switch (task.kind) {
    case 'classification': {
      const label = labelOf(row, task);
      return label === undefined ? undefined : { ...classificationInput(row, task), label };
    }
    case 'choice': {
      const input = choiceInput(row, task);
      return { ...input, answer: answerOf(row, task, input.candidates) };
    }
    case 'span':
      return { ...spanInput(row, task), ...spanAnswer(row, task) };
    case 'generation':
      return { source: textOf(row, task.columns.source), target: textOf(row, task.columns.target) };
  }
}

function inputOf(row: Row, task: FinetuneTask): TaskInput {
  switch (task.kind) {
    case 'classification':
      return classificationInput(row, task);
    case 'choice':
      return choiceInput(row, task);
    case 'span':
      return spanInput(row, task);
    case 'generation':
      return { source: textOf(row, task.columns.source) };
  }
}

function classificationInput(row: Row, { columns, marks }: ClassificationTask): ClassificationInput {
  const plain = textOf(row, columns.text);
  const text = marks ? marked(row, plain, marks) : plain;
  return { text, ...(columns.textPair !== undefined && { textPair: textOf(row, columns.textPair) }) };
}

function labelOf(row: Row, task: ClassificationTask): number | undefined {
  const value = columnValue(row, task.columns.label);
  if (typeof value !== 'string' && typeof value !== 'number') throw unfit(row, task.columns.label, 'a label');
  const name = String(value);
  if (task.dropLabels?.includes(name)) return undefined;
  const index = task.labels.indexOf(name);
  if (index < 0)
    throw new CorpusError(
      `${row.where}: label ${JSON.stringify(value)} is unknown to the task ${task.name}. ` +
        `Known: ${task.labels.join(', ')}. To leave such rows out, put the label into the task's dropLabels.`,
    );
  return index;
}

function choiceInput(row: Row, { columns }: ChoiceTask): ChoiceInput {
  const { text, candidates: from, candidate } = columns;
  const list = typeof from === 'string' ? columnValue(row, from) : from.map((column) => textOf(row, column));
  if (!Array.isArray(list) || list.length < 2 || !list.every((entry) => typeof entry === 'string'))
    throw unfit(row, String(from), 'a list of two texts or more');
  const candidates = list.map((entry: string) =>
    candidate === undefined
      ? entry
      : textOf({ ...row, values: { ...row.values, candidate: entry } }, candidate),
  );
  return { text: textOf(row, text), candidates };
}

/** By index, or by the text of a candidate (with what it is read with, or without). */
function answerOf(row: Row, { columns }: ChoiceTask, candidates: readonly string[]): number {
  const value = columnValue(row, columns.answer);
  if (value === undefined || value === null) throw unfit(row, columns.answer, 'an answer');
  const raw = typeof columns.candidates === 'string' ? columnValue(row, columns.candidates) : candidates;
  const byText = (raw as readonly unknown[]).indexOf(value);
  const index = byText >= 0 ? byText : /^\d+$/.test(String(value)) ? Number(value) : -1;
  if (candidates[index] === undefined)
    throw new CorpusError(
      `${row.where}: the answer ${JSON.stringify(value)} is none of the ${candidates.length} candidates, ` +
        'expected the text of one or its index from 0.',
    );
  return index;
}

function spanInput(row: Row, { columns }: SpanTask): SpanInput {
  return { question: textOf(row, columns.question), context: textOf(row, columns.context) };
}

function spanAnswer(row: Row, { columns }: SpanTask): Omit<SpanExample, keyof SpanInput> {
  const answer = textOf(row, columns.answer);
  const context = textOf(row, columns.context);
  const start = columnValue(row, columns.answerStart);
  if (typeof start !== 'number' && typeof start !== 'string')
    throw unfit(row, columns.answerStart, 'an index');
  // Published files count code points, and some are a few places off.
  const given = [...context].slice(0, Number(start)).join('').length;
  const answerStart = nearestTo(given, context, answer);
  if (answerStart === undefined)
    throw new CorpusError(`${row.where}: the context does not have the answer "${answer}".`);
  const all = columns.answers === undefined ? undefined : columnValue(row, columns.answers);
  const answers = Array.isArray(all) && all.length > 0 ? all.map(String) : [answer];
  return { answer, answerStart, answers };
}

function nearestTo(place: number, context: string, part: string): number | undefined {
  let best: number | undefined;
  for (let at = context.indexOf(part); at >= 0; at = context.indexOf(part, at + 1))
    if (best === undefined || Math.abs(at - place) < Math.abs(best - place)) best = at;
  return best;
}

/**
 * Checks examples that were made in memory.
 * @throws ConfigError naming the split and the index of the first example at fault
 */
export function checkExamples(examples: readonly TaskExample[], task: FinetuneTask, split: string): void {
  for (const [index, example] of examples.entries()) {
    const where = `${split} example ${index} of ${task.name}`;
    if (kindOf(example) !== task.kind)
      throw new ConfigError(`${where} is not of the task's kind, ${task.kind}.`);
    const texts = Object.values(example).filter((value) => typeof value === 'string');
    if (texts.some((text) => text.trim() === ''))
      throw new ConfigError(`${where} has an empty text. Leave the example out, or give it a text.`);
    if (task.kind === 'classification' && 'label' in example && task.labels[example.label] === undefined)
      throw new ConfigError(
        `${where} has label ${example.label}, expected an index into the ${task.labels.length} labels.`,
      );
    if ('candidates' in example && example.candidates[example.answer] === undefined)
      throw new ConfigError(
        `${where} has answer ${example.answer}, but ${example.candidates.length} candidates.`,
      );
  }
}

function kindOf(example: TaskExample): FinetuneTask['kind'] {
  if ('label' in example) return 'classification';
  if ('candidates' in example) return 'choice';
  return 'context' in example ? 'span' : 'generation';
}
