// The classification board of CLUE: seven tasks and their mean.
import { ConfigError } from '../errors.js';

/** The tasks of the board in its order, as this package names them, with the board's own names. */
export const boardTasks = {
  afqmc: 'AFQMC',
  tnews: 'TNEWS',
  iflytek: 'IFLYTEK',
  cmnli: 'CMNLI',
  ocnli: 'OCNLI_50K',
  cluewsc2020: 'CLUEWSC2020',
  csl: 'CSL',
} as const;

export type BoardTask = keyof typeof boardTasks;
export const boardTaskNames = Object.keys(boardTasks) as BoardTask[];

/** One row: accuracies in percent. */
export interface BoardRow {
  name: string;
  scores: Partial<Record<BoardTask, number>>;
  /** Mean of the seven as published, where a row's parts are not known or are to be checked. */
  publishedMean?: number;
  /** Where the scores come from, or on which split they were measured. */
  source: string;
}

/** Rows as published on the board in April 2021: of the runner-up and of humans only the means are at hand. */
export const publishedRows: readonly BoardRow[] = [
  { name: 'Human', scores: {}, publishedMean: 82.943, source: 'CLUE board' },
  {
    name: 'PLUG (27B)',
    scores: {
      afqmc: 77.441,
      tnews: 73.06,
      iflytek: 64.0,
      cmnli: 84.949,
      ocnli: 83.267,
      cluewsc2020: 94.483,
      csl: 87.1,
    },
    publishedMean: 80.614,
    source: 'CLUE board',
  },
  { name: 'Runner-up to PLUG', scores: {}, publishedMean: 80.581, source: 'CLUE board' },
];

/** A row's mean, and what it is a mean of. */
export interface BoardMean {
  /** In percent, to three digits as the board has it; undefined without any score. */
  mean: number | undefined;
  missing: BoardTask[];
}

/** The unweighted mean over the tasks that a row has. Only a mean over all seven can be compared. */
export function boardMean({ scores, publishedMean }: BoardRow): BoardMean {
  const present = boardTaskNames.filter((task) => scores[task] !== undefined);
  const missing = boardTaskNames.filter((task) => scores[task] === undefined);
  if (present.length === 0)
    return { mean: publishedMean, missing: publishedMean === undefined ? missing : [] };
  const sum = present.reduce((total, task) => total + scores[task]!, 0);
  return { mean: Number((sum / present.length).toFixed(3)), missing };
}

/** Whether a task's scores stand on the board. */
export function isBoardTask(task: string): task is BoardTask {
  return Object.hasOwn(boardTasks, task);
}

/**
 * Makes one row of several results.
 * @throws ConfigError when two of them are of one task
 */
export function boardRow(
  name: string,
  results: readonly { task: BoardTask; accuracy: number; split: string; from: string }[],
): BoardRow {
  const scores: Partial<Record<BoardTask, number>> = {};
  const seen = new Map<BoardTask, string>();
  for (const { task, accuracy, from } of results) {
    const earlier = seen.get(task);
    if (earlier !== undefined)
      throw new ConfigError(`${from} and ${earlier} are both of the task ${task}: give one of them.`);
    seen.set(task, from);
    scores[task] = 100 * accuracy;
  }
  const splits = [...new Set(results.map(({ split }) => split))];
  return { name, scores, source: splits.length > 0 ? `own ${splits.join(' and ')}` : 'no result' };
}
