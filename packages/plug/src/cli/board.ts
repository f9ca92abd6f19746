// The CLUE board, from the runs of `plug finetune`.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../errors.js';
import {
  type BoardRow,
  boardMean,
  boardRow,
  boardTaskNames,
  boardTasks,
  isBoardTask,
  publishedRows,
  terminalTable,
} from '../evaluate/index.js';
import { readTask } from '../finetune/index.js';
import { readJson } from '../finetune/json.js';

/** The published rows with one of own runs. */
export interface BoardReport {
  rows: (BoardRow & ReturnType<typeof boardMean>)[];
}

/** @throws ConfigError for a run that has no result, or is of no task of the board */
export function reportBoard(runs: readonly string[]): BoardReport {
  const rows = [...publishedRows];
  if (runs.length > 0) rows.push(boardRow('own runs', runs.map(resultOf)));
  return { rows: rows.map((row) => ({ ...row, ...boardMean(row) })) };
}

function resultOf(run: string): Parameters<typeof boardRow>[1][number] {
  const path = join(run, 'result.json');
  if (!existsSync(path))
    throw new ConfigError(`${run} is no finished run of plug finetune: it has no result.json.`);
  const { name: task } = readTask(run).task;
  if (!isBoardTask(task))
    throw new ConfigError(
      `${run} is of the task ${task}, which is none of the board's: ${boardTaskNames.join(', ')}.`,
    );
  const result = readJson(path) as Partial<Record<'dev' | 'test', { accuracy?: number }>>;
  const split = result.test ? 'test' : 'dev';
  const accuracy = result[split]?.accuracy;
  if (accuracy === undefined)
    throw new ConfigError(`${path} has no accuracy: the run had neither dev nor test.`);
  return { task, accuracy, split, from: run };
}

export function describeBoard({ rows }: BoardReport): string {
  const columns = ['', 'mean', ...boardTaskNames.map((task) => boardTasks[task]), 'source'].map(
    (header, index) => ({
      header,
      align: index === 0 || index > boardTaskNames.length + 1 ? ('left' as const) : ('right' as const),
    }),
  );
  const shown = (value: number | undefined): string => value?.toFixed(3) ?? '–';
  const cells = rows.map(({ name, mean, missing, scores, source }) => [
    name,
    missing.length > 0 && mean !== undefined ? `(${shown(mean)})` : shown(mean),
    ...boardTaskNames.map((task) => shown(scores[task])),
    source,
  ]);
  const partial = rows
    .filter(({ missing, mean }) => missing.length > 0 && mean !== undefined)
    .map(
      ({ name, missing }) =>
        `${name}: a partial board, without ${missing.map((task) => boardTasks[task]).join(', ')}; its mean cannot be compared.`,
    );
  const own = rows.some(({ source }) => source.includes('dev'))
    ? ['Own scores on dev; the board’s are on its test sets.']
    : [];
  return [terminalTable(columns, cells).trimEnd(), ...partial, ...own].join('\n');
}
