// Predictions beside what was right, for people to browse.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { spanScores } from '../evaluate/index.js';
import type { TaskExample, TaskInput } from './examples.js';
import type { PredictedRow } from './kinds.js';
import type { FinetuneTask } from './task.js';

/** A prediction with its input, and with the right answer where that is known. */
export interface BrowsedRow extends PredictedRow {
  input: Record<string, unknown>;
  /** A label, the index of a candidate, answers, or a text. */
  gold?: unknown;
  correct?: boolean;
}

/** In the order of the inputs. */
export function browsedRows(
  task: FinetuneTask,
  inputs: readonly (TaskInput | TaskExample)[],
  rows: readonly PredictedRow[],
): BrowsedRow[] {
  return rows.map((row, index) => {
    const example = inputs[index]!;
    const known = goldOf(task, example, row.prediction);
    const { id: _, ...fields } = example;
    const input = Object.fromEntries(Object.entries(fields).filter(([name]) => inputFields.has(name)));
    return { ...row, ...known, input };
  });
}

/** Wrong predictions, those that the model was surest of first. */
export function errorsFirst(rows: readonly BrowsedRow[]): BrowsedRow[] {
  return rows
    .filter(({ correct }) => correct === false)
    .sort((a, b) => (b.probability ?? 0) - (a.probability ?? 0));
}

/** Leaves in a run folder what its model got wrong of a split, as JSON lines in the order of `errorsFirst`. */
export function writeErrors(
  run: string,
  name: string,
  task: FinetuneTask,
  examples: readonly TaskExample[],
  rows: readonly PredictedRow[],
): void {
  mkdirSync(join(run, 'errors'), { recursive: true });
  const wrong = errorsFirst(browsedRows(task, examples, rows));
  const lines = wrong.map((row) => `${JSON.stringify(row)}\n`).join('');
  writeFileAtomic.sync(join(run, 'errors', `${name}.jsonl`), lines);
}

const inputFields = new Set(['text', 'textPair', 'candidates', 'question', 'context', 'source']);

function goldOf(
  task: FinetuneTask,
  example: TaskInput | TaskExample,
  prediction: string | number,
): { gold: unknown; correct: boolean } | undefined {
  if ('label' in example && task.kind === 'classification') {
    const gold = task.labels[example.label]!;
    return { gold, correct: gold === prediction };
  }
  if ('answers' in example) {
    const answers = example.answers;
    return {
      gold: answers,
      correct: spanScores({ prediction: String(prediction), answers }).exactMatch === 1,
    };
  }
  if ('candidates' in example && 'answer' in example)
    return { gold: example.answer, correct: example.answer === prediction };
  if ('target' in example) return { gold: example.target, correct: example.target === prediction };
  return undefined;
}
