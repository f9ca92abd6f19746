// The rows of the CLUE board: those that were published, and one for each set of own runs.
import { dirname } from 'node:path';
import {
  type BoardRow,
  type BoardTask,
  boardMean,
  boardRow,
  boardTaskNames,
  boardTasks,
  isBoardTask,
  publishedRows,
} from '../../evaluate/index.js';
import type { BoardAnswer, ListedResult } from './schemas.js';

type Row = BoardAnswer['rows'][number];
type Cells = Row['cells'];

export function boardOf(results: readonly ListedResult[]): BoardAnswer {
  const tasks = boardTaskNames.map((name) => ({ name, title: boardTasks[name] }));
  const published = publishedRows.map((row) => rowOf(row, publishedCells(row)));
  return { tasks, rows: [...published, ...[...setsOf(results).values()].map(ownRow)] };
}

/** Runs in one folder that started from the same model in the same way, as a row of the board is of one model. */
function setsOf(results: readonly ListedResult[]): Map<string, ListedResult[]> {
  const sets = new Map<string, ListedResult[]>();
  for (const result of results) {
    const { task, partOf, shots, split, run, start } = result;
    if (!isBoardTask(task.name) || partOf !== undefined || shots !== undefined) continue;
    if ((split !== 'dev' && split !== 'test') || result.figures.accuracy === undefined) continue;
    const key = JSON.stringify([dirname(run), start]);
    sets.set(key, [...(sets.get(key) ?? []), result]);
  }
  return sets;
}

function ownRow(set: readonly ListedResult[]): Row {
  const cells: Cells = {};
  const chosen = boardTaskNames.flatMap((task) => {
    const ofTask = set.filter((result) => result.task.name === task);
    // Where a test set has answers, it is what counts.
    const tested = ofTask.filter(({ split }) => split === 'test');
    const [best] = (tested.length > 0 ? tested : ofTask).sort((a, b) => accuracyOf(b) - accuracyOf(a));
    if (!best) return [];
    cells[task] = cellOf(best, new Set(ofTask.map(({ run }) => run)).size);
    return [{ task, accuracy: accuracyOf(best), split: best.split, from: best.run }];
  });
  const { run, start } = set[0]!;
  const parent = dirname(run);
  const row = rowOf(boardRow(parent === '.' ? start.model : parent, chosen), cells);
  return { ...row, own: true, start };
}

function rowOf(row: BoardRow, cells: Cells): Row {
  return { name: row.name, own: false, ...boardMean(row), cells, source: row.source };
}

function publishedCells({ scores }: BoardRow): Cells {
  return Object.fromEntries(Object.entries(scores).map(([task, value]) => [task as BoardTask, { value }]));
}

function cellOf(result: ListedResult, numRuns: number): Cells[string] {
  const { trials, figures, id, split } = result;
  const ofSeeds = trials?.kind === 'seeds';
  const plusMinus = ofSeeds ? trials?.standardDeviation : figures.standardError;
  return {
    value: 100 * accuracyOf(result),
    id,
    split,
    ...(plusMinus !== undefined && { plusMinus: 100 * plusMinus }),
    ...(ofSeeds && { numSeeds: trials?.members.length }),
    ...(numRuns > 1 && { bestOf: numRuns }),
  };
}

function accuracyOf({ figures }: ListedResult): number {
  return figures.accuracy ?? 0;
}
