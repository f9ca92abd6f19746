// Examples of a task, from JSON lines or JSON arrays. A row that does not fit the task stops everything: silently
// dropped rows would change what a score means.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { newReadReport, readable, readLines } from '../corpus/files.js';
import { ConfigError, CorpusError } from '../errors.js';
import type { ClassificationTask, FinetuneTask, GenerationTask } from './task.js';

/** A text or a pair of texts with the index of its label in the task's `labels`. */
export interface ClassificationExample {
  text: string;
  textPair?: string;
  label: number;
}

/** A source and the text to be written from it. */
export interface GenerationExample {
  source: string;
  target: string;
}

export type ExampleOf<Task extends FinetuneTask> = Task extends GenerationTask
  ? GenerationExample
  : ClassificationExample;

/** Examples by split. Without dev examples there is no early stopping, and the last model is kept. */
export interface FinetuneData<Example> {
  train: readonly Example[];
  dev?: readonly Example[];
  test?: readonly Example[];
}

/** What was read from files. */
export interface ReadExamples<Example> {
  examples: Example[];
  /** Rows left out because of the task's `dropLabels`. */
  dropped: number;
}

export type SplitName = 'train' | 'dev' | 'test';
export const splitNames: readonly SplitName[] = ['train', 'dev', 'test'];

const endings = ['.json', '.jsonl', '.ndjson'];
const prefixes: readonly (readonly [string, SplitName])[] = [
  ['train', 'train'],
  ['dev', 'dev'],
  ['valid', 'dev'],
  ['test', 'test'],
];

/**
 * Sorts files into splits: those of a folder by the task's `files` or else by their names (`train…`, `dev…` or
 * `valid…`, `test…`; .json, .jsonl, .ndjson), files named outright by their names.
 * @throws ConfigError when a folder has several files for one split, or a file's name tells no split
 */
export function findSplitFiles(paths: readonly string[], task: FinetuneTask): Record<SplitName, string[]> {
  const files: Record<SplitName, string[]> = { train: [], dev: [], test: [] };
  for (const path of paths) {
    if (readable(path, () => statSync(path).isDirectory())) {
      const names = readdirSync(path).sort();
      for (const split of splitNames) files[split].push(...inFolder(path, names, split, task));
      continue;
    }
    const split = splitOfName(basename(path));
    if (!split)
      throw new ConfigError(
        `${path}: the name does not tell the split. Call it train…, dev… or test…, with ${endings.join(', ')}.`,
      );
    files[split].push(path);
  }
  if (splitNames.every((split) => files[split].length === 0))
    throw new ConfigError(
      `${paths.join(', ')}: no file train…, dev… or test… with ${endings.join(', ')} was found.`,
    );
  return files;
}

function inFolder(folder: string, names: readonly string[], split: SplitName, task: FinetuneTask): string[] {
  const wanted = task.files?.[split];
  if (task.files && wanted === undefined) return [];
  if (wanted !== undefined && names.includes(wanted)) return [join(folder, wanted)];
  const found = names.filter((name) => splitOfName(name) === split);
  if (found.length > 1)
    throw new ConfigError(
      `${folder} has several files for ${split}: ${found.join(', ')}. Name the files that you want in place of the folder.`,
    );
  return found.map((name) => join(folder, name));
}

function splitOfName(name: string): SplitName | undefined {
  if (!endings.some((ending) => name.endsWith(ending))) return undefined;
  return prefixes.find(([prefix]) => name.startsWith(prefix))?.[1];
}

/**
 * Reads the examples of a task from JSON lines files or files with one JSON array.
 * @throws CorpusError naming file and row when a row has no such column, an empty text, or an unknown label
 */
export function readExamples<Task extends FinetuneTask>(
  paths: readonly string[],
  task: Task,
): ReadExamples<ExampleOf<Task>> {
  const examples: (ClassificationExample | GenerationExample)[] = [];
  let dropped = 0;
  for (const path of paths) {
    for (const { row, where } of readRows(path)) {
      const example =
        task.kind === 'generation'
          ? generationExample(row, task, where)
          : classificationExample(row, task, where);
      if (example) examples.push(example);
      else dropped++;
    }
  }
  if (paths.length > 0 && examples.length === 0)
    throw new CorpusError(`${paths.join(', ')}: there is no example in it.`);
  return { examples: examples as ExampleOf<Task>[], dropped };
}

interface Row {
  row: Record<string, unknown>;
  where: string;
}

function* readRows(path: string): Generator<Row> {
  let first = true;
  for (const { text, number } of readLines(path, 'error', newReadReport())) {
    if (text.trim() === '') continue;
    // A line of JSON lines is an object, so a bracket can only begin an array of all rows.
    if (first && text.trimStart().startsWith('[')) {
      yield* readArray(path);
      return;
    }
    first = false;
    const where = `${path}, line ${number}`;
    yield checkedRow(parseJson(text, where), where);
  }
}

function* readArray(path: string): Generator<Row> {
  const rows = parseJson(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''), path) as unknown[];
  for (const [index, row] of rows.entries()) {
    const where = `${path}, row ${index + 1}`;
    yield checkedRow(row, where);
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CorpusError(`${where}: not JSON (${(cause as Error).message}).`, { cause });
  }
}

function checkedRow(row: unknown, where: string): Row {
  if (typeof row !== 'object' || row === null || Array.isArray(row))
    throw new CorpusError(`${where}: expected a JSON object, got ${JSON.stringify(row)?.slice(0, 60)}.`);
  return { row: row as Record<string, unknown>, where };
}

function generationExample(
  row: Record<string, unknown>,
  task: GenerationTask,
  where: string,
): GenerationExample {
  const { source, target } = task.columns;
  return { source: textOf(row, source, where), target: textOf(row, target, where) };
}

/** Undefined for a label that the task drops. */
function classificationExample(
  row: Record<string, unknown>,
  task: ClassificationTask,
  where: string,
): ClassificationExample | undefined {
  const { text, textPair, label } = task.columns;
  const value = row[label];
  if (typeof value !== 'string' && typeof value !== 'number') throw missing(row, label, where);
  const name = String(value);
  if (task.dropLabels?.includes(name)) return undefined;
  const index = task.labels.indexOf(name);
  if (index < 0)
    throw new CorpusError(
      `${where}: label ${JSON.stringify(value)} is unknown to the task ${task.name}. Known: ${task.labels.join(', ')}.`,
    );
  return {
    text: textOf(row, text, where),
    ...(textPair !== undefined && { textPair: textOf(row, textPair, where) }),
    label: index,
  };
}

function textOf(row: Record<string, unknown>, column: string, where: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw missing(row, column, where);
  if (value.trim() === '') throw new CorpusError(`${where}: column "${column}" is empty.`);
  return value;
}

function missing(row: Record<string, unknown>, column: string, where: string): CorpusError {
  const got = column in row ? `is ${JSON.stringify(row[column])?.slice(0, 60)}` : 'is missing';
  return new CorpusError(
    `${where}: column "${column}" ${got}, expected text. The row has: ${Object.keys(row).join(', ') || 'nothing'}.`,
  );
}

/**
 * Checks examples that were made in memory.
 * @throws ConfigError naming the split and the index of the first example at fault
 */
export function checkExamples(
  examples: readonly (ClassificationExample | GenerationExample)[],
  task: FinetuneTask,
  split: string,
): void {
  for (const [index, example] of examples.entries()) {
    const where = `${split} example ${index} of ${task.name}`;
    if ('label' in example !== (task.kind === 'classification'))
      throw new ConfigError(`${where} is not of the task's kind, ${task.kind}.`);
    const texts = 'label' in example ? [example.text, example.textPair] : [example.source, example.target];
    if (texts.some((text) => text?.trim() === '')) throw new ConfigError(`${where} has an empty text.`);
    if (task.kind === 'classification' && 'label' in example && task.labels[example.label] === undefined)
      throw new ConfigError(
        `${where} has label ${example.label}, expected an index into the ${task.labels.length} labels.`,
      );
  }
}
