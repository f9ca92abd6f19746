// The CLUE board and the files that its site takes, from the runs of `plug finetune`.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
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
import {
  type FinetuneTask,
  loadTaskModel,
  predictRows,
  readInputs,
  readTask,
  type ScoringOptions,
  submissionZip,
  type TaskPredictions,
} from '../finetune/index.js';
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

/** What was written for a site. */
export interface SubmissionReport {
  zip: string;
  files: { task: string; file: string; rows: number; from: string }[];
}

/**
 * Predicts the test files of the runs' tasks and writes them as one zip.
 * @param data folders that hold a folder for each task, or test files named in the order of the runs
 * @throws ConfigError for a run without a task of a site, or a test file that is not there
 */
export async function writeSubmission(
  zip: string,
  runs: readonly string[],
  data: readonly string[],
  scoring: ScoringOptions,
): Promise<SubmissionReport> {
  if (runs.length === 0 || data.length === 0)
    throw new ConfigError(
      'A submission needs runs and data: plug evaluate --submission OUT.zip RUN… --data DIR.',
    );
  const files = runs.map((run, index) => testFile(readTask(run).task, data, index, runs.length));
  const all: TaskPredictions[] = [];
  const written: SubmissionReport['files'] = [];
  for (const [index, run] of runs.entries()) {
    const { task } = readTask(run);
    const from = files[index]!;
    using model = loadTaskModel(run);
    const rows = await predictRows(model, await readInputs([from], task, { needIds: true }), scoring);
    all.push({ task, rows });
    written.push({ task: task.name, file: task.submission?.file ?? '', rows: rows.length, from });
  }
  const bytes = submissionZip(all);
  mkdirSync(dirname(zip), { recursive: true });
  writeFileAtomic.sync(zip, Buffer.from(bytes));
  return { zip, files: written };
}

function testFile(task: FinetuneTask, data: readonly string[], index: number, numRuns: number): string {
  const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  if (data.every(isFile)) {
    if (data.length !== numRuns)
      throw new ConfigError(
        `${numRuns} runs but ${data.length} test files: name one for each run, or a folder.`,
      );
    return data[index]!;
  }
  const bare = task.name.replace(/^fewclue-/, '');
  // Some tasks come with the tests of both versions of the board; the files are named for 1.1.
  const names = ['test1.1.json', 'test.json', 'test.csv', 'test.tsv'];
  const places = data.flatMap((root) =>
    [join(root, task.name), join(root, bare), root].flatMap((folder) =>
      names.map((name) => join(folder, name)),
    ),
  );
  const found = places.find(isFile);
  if (found === undefined)
    throw new ConfigError(`No test file for ${task.name}: looked for ${places.slice(0, 6).join(', ')}, ….`);
  return found;
}

export function describeSubmission({ zip, files }: SubmissionReport): string {
  const lines = files.map(({ task, file, rows, from }) => `  ${file}: ${rows} rows of ${task}, from ${from}`);
  return [`Wrote ${zip}`, ...lines].join('\n');
}
