// The files that the sites of CLUE and FewCLUE take: one for each task, zipped.
// Zipped by fflate: small, without dependencies, and of the same bytes for the same files.
import { type Zippable, zipSync } from 'fflate';
import { ConfigError } from '../errors.js';
import type { PredictedRow } from './kinds.js';
import type { FinetuneTask } from './task.js';

/** Predictions for all rows of a task's test file. */
export interface TaskPredictions {
  task: FinetuneTask;
  rows: readonly PredictedRow[];
  /** Which of the task's `submission.parts` the rows are for; without one they are for the board of single files. */
  part?: string | undefined;
}

/** The name of a task's file, or of one of its parts. */
export function submissionName(file: string, part: string | undefined): string {
  return part === undefined ? file : file.replace(/(\.\w+)$/, `_${part}$1`);
}

/**
 * The content of a task's file.
 * @throws ConfigError when the task has none, an id occurs twice, or a prediction is none of the task's labels
 */
export function submissionFile({ task, rows, part }: TaskPredictions): { name: string; content: string } {
  const { submission } = task;
  if (!submission) throw new ConfigError(`The task ${task.name} has no submission file: no site takes one.`);
  const seen = new Set<string | number>();
  for (const { id, prediction } of rows) {
    if (seen.has(id)) throw new ConfigError(`${task.name}: the id ${JSON.stringify(id)} occurs twice.`);
    seen.add(id);
    if (task.kind === 'classification' && !task.labels.includes(String(prediction)))
      throw new ConfigError(`${task.name}: "${prediction}" is none of the labels.`);
  }
  const { form, key = 'label' } = submission;
  const name = submissionName(submission.file, part);
  if (form === 'map')
    return {
      name,
      content: `${JSON.stringify(Object.fromEntries(rows.map(({ id, prediction }) => [id, prediction])), null, 2)}\n`,
    };
  const lines = rows.map(({ id, prediction }) => `${JSON.stringify({ id, [key]: prediction })}\n`);
  return { name, content: lines.join('') };
}

/** Zip files hold a time; this one is the earliest that they can. */
const fixedTime = new Date(1980, 0, 1);

/**
 * All files in one zip, in the order of their names; the same predictions give the same bytes.
 * @throws ConfigError as `submissionFile`, and when two tasks have one file
 */
export function submissionZip(all: readonly TaskPredictions[]): Uint8Array {
  const files: Zippable = {};
  for (const { name, content } of all.map(submissionFile).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (files[name]) throw new ConfigError(`Two models give the file ${name}: choose one.`);
    files[name] = [new TextEncoder().encode(content), { mtime: fixedTime }];
  }
  return zipSync(files, { level: 9 });
}
