// The files that the sites of CLUE and FewCLUE take, from the runs of `plug finetune`.
import { mkdirSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { ConfigError } from '../errors.js';
import {
  builtInTasks,
  type FinetuneTask,
  findSiteTest,
  loadTaskModel,
  predictRows,
  readInputs,
  readTask,
  type ScoringOptions,
  submissionName,
  submissionZip,
  type TaskPredictions,
} from '../finetune/index.js';

/** What was written for a site. */
export interface SubmissionReport {
  zip: string;
  files: { task: string; file: string; rows: number; from: string }[];
  /** Files of the same board that the zip lacks, and why: with any of them it is a partial board. */
  leftOut: { task: string; file: string; why: string }[];
}

/**
 * Predicts the test files of the runs' tasks and writes them as one zip. A run whose test file is not there is left out.
 * Several runs of one task are for a board of several files each: the ends of their folders' names say which, `csl-0`.
 * @param data folders that hold a folder for each task, or test files named in the order of the runs
 * @throws ConfigError for a run without a task of a site, runs of two sites, or when no test file is there at all
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
  const tasks = runs.map((run) => readTask(run).task);
  const site = onlySite(runs, tasks);
  const parts = partsOf(runs, tasks);
  const tests = testFiles(tasks, data);
  const all: TaskPredictions[] = [];
  const files: SubmissionReport['files'] = [];
  for (const [index, run] of runs.entries()) {
    const task = tasks[index]!;
    const from = tests[index];
    if (from === undefined) continue;
    using model = loadTaskModel(run);
    const rows = await predictRows(model, await readInputs([from], task, { needIds: true }), scoring);
    const part = parts[index];
    all.push({ task, rows, part });
    const file = submissionName(task.submission?.file ?? '', part);
    files.push({ task: task.name, file, rows: rows.length, from });
  }
  const bytes = submissionZip(all);
  mkdirSync(dirname(zip), { recursive: true });
  writeFileAtomic.sync(zip, Buffer.from(bytes));
  const written = new Set(files.map(({ file }) => file));
  const isMulti = parts.some((part) => part !== undefined);
  const leftOut = builtInTasks
    .filter(({ submission }) => site !== undefined && submission?.site === site)
    .flatMap(({ name, submission }) =>
      ((isMulti && submission?.parts) || [undefined]).map((part) => ({
        task: name,
        file: submissionName(submission?.file ?? '', part),
        why: tasks.some((task, index) => task.name === name && parts[index] === part)
          ? `no test file in ${data.join(', ')}`
          : 'no run of it was named',
      })),
    )
    .filter(({ file }) => !written.has(file));
  return { zip, files, leftOut };
}

/**
 * Which part of its task's submission each run is for: none when every task has one run.
 * @throws ConfigError when a task's several runs do not tell their parts apart, or its site takes one file
 */
function partsOf(runs: readonly string[], tasks: readonly FinetuneTask[]): (string | undefined)[] {
  if (new Set(tasks.map(({ name }) => name)).size === tasks.length) return runs.map(() => undefined);
  const seen = new Map<string, string>();
  return runs.map((run, index) => {
    const { name, submission } = tasks[index]!;
    const parts = submission?.parts;
    const other = runs.find((_, at) => at !== index && tasks[at]!.name === name);
    if (!parts)
      throw new ConfigError(
        other === undefined
          ? `${run}: the site takes one file of ${name}, but several of other tasks that are named. Write a zip for each board.`
          : `${run} and ${other} are both of the task ${name}, of which the site takes one file: name one of them.`,
      );
    const folder = basename(resolve(run));
    const part = parts.find(
      (end) => folder === end || folder.endsWith(`-${end}`) || folder.endsWith(`_${end}`),
    );
    if (part === undefined)
      throw new ConfigError(
        `${run}: with several runs of a task, each is named after its training split: let the folder end with ` +
          `-${parts.join(', -')} (${name}-${parts[0]}).`,
      );
    const file = submissionName(submission.file, part);
    const before = seen.get(file);
    if (before !== undefined)
      throw new ConfigError(`${before} and ${run} are both for ${file}: name one of them.`);
    seen.set(file, run);
    return part;
  });
}

/** Undefined where no task says its site. @throws ConfigError for a task without a site's file, or of another site */
function onlySite(runs: readonly string[], tasks: readonly FinetuneTask[]): string | undefined {
  const first = new Map<string, string>();
  for (const [index, { name, submission }] of tasks.entries()) {
    if (!submission)
      throw new ConfigError(
        `${runs[index]} is of the task ${name}, which no site takes a file of. Leave it out.`,
      );
    if (submission.site !== undefined && !first.has(submission.site))
      first.set(submission.site, runs[index]!);
  }
  const [one, other] = [...first];
  if (other)
    throw new ConfigError(
      `${one![1]} is for the site of ${one![0]}, ${other[1]} for that of ${other[0]}: write a zip for each.`,
    );
  return one?.[0];
}

/**
 * The test file of each task, undefined where there is none.
 * @throws ConfigError when there is none for any of them, or files are named that are not as many
 */
function testFiles(tasks: readonly FinetuneTask[], data: readonly string[]): (string | undefined)[] {
  if (data.every((path) => statSync(path, { throwIfNoEntry: false })?.isFile())) {
    if (data.length !== tasks.length)
      throw new ConfigError(
        `${tasks.length} runs but ${data.length} test files: name one for each run, or a folder.`,
      );
    return [...data];
  }
  const isOneTask = new Set(tasks.map(({ name }) => name)).size === 1;
  const looked = new Set<string>();
  const found = tasks.map((task) => {
    const bare = task.name.replace(/^fewclue-/, '');
    // A folder of files is one task's: names such as test.json do not tell whose.
    const places = [task.name, bare, `${bare}_public`, ...(isOneTask ? ['.'] : [])];
    for (const folder of data.flatMap((root) => places.map((place) => join(root, place)))) {
      looked.add(folder);
      const test = findSiteTest(folder, task);
      if (test !== undefined) return test;
    }
    return undefined;
  });
  if (found.some((path) => path !== undefined)) return found;
  const [{ name, submission }] = tasks as [FinetuneTask];
  throw new ConfigError(
    `No test file for ${tasks.map((task) => task.name).join(', ')}: looked in ${[...looked].join(', ')}; ` +
      `for ${name} the name is ${submission?.test?.join(' or ') ?? 'test…'}.`,
  );
}

export function describeSubmission({ zip, files, leftOut }: SubmissionReport): string {
  const lines = files.map(({ task, file, rows, from }) => `  ${file}: ${rows} rows of ${task}, from ${from}`);
  const partial = leftOut.map(({ task, file, why }) => `  ${file} (${task}): ${why}`);
  return [
    `Wrote ${zip}`,
    ...lines,
    ...(partial.length > 0 ? ['A partial board, without', ...partial] : []),
  ].join('\n');
}
