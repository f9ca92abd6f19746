// `npm run results`: the table of docs/results.md. Every cell is a run folder under --out, so an interrupted table goes
// on where it stopped. The test files are scored by the runs themselves, once, with the checkpoint that dev chose, and
// at a learning rate that dev chose before.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { OpenPlugError } from '@openplug/torch';
import { BenchmarkError } from '../harness/harness.js';
import {
  markdownTable,
  runTrials,
  type SeedSpread,
  searchBest,
  seedChanges,
  seedSpreadOf,
} from '../openplug.js';
import { linear, majority } from './baselines.js';
import { type ResultTask, readResultTask, resultTaskNames } from './tasks.js';

const usage =
  'Usage: npm run results -- --clue DIR --out DIR --system NAME=MODEL… [--scratch MODEL] [--seeds 3] [--tasks ocnli,…]\n' +
  '  [--learning-rates 5e-4,1.5e-3] [--threads N]\n' +
  '  MODEL may hold {task}, for a model of each task’s own; --scratch gives the shape of the network without pre-training\n' +
  '  Of several learning rates dev chooses, with seed 1: one for the network without pre-training, one with the first system';

/** Accuracy on test over the seeds, and seconds of training and scoring a run took on average. */
interface Cell extends SeedSpread {
  seconds: number;
  /** Of a network, as dev chose it. */
  learningRate?: number;
}

interface Table {
  systems: string[];
  tasks: Record<
    string,
    { examples: { train: number; dev: number; test: number }; cells: Record<string, Cell> }
  >;
}

interface Network {
  name: string;
  model: string;
  fromScratch: boolean;
}

interface SeedOptions {
  learningRate: number;
  firstSeed?: number;
  seeds: number;
  threads: number;
}

const settingsOf = (task: ResultTask, { model, fromScratch }: Network, out: string, threads: number) => ({
  ...task.settings,
  model: model.replace('{task}', task.name),
  out,
  fromScratch,
  tokensPerBatch: 1024,
  patience: 0,
  threads,
});

/** The rate with which a network is best on dev with seed 1, and what that run then scores on test. */
async function chooseRate(
  task: ResultTask,
  network: Network,
  out: string,
  { rates, threads }: { rates: readonly number[]; threads: number },
): Promise<{ learningRate: number; firstSeed?: number }> {
  if (rates.length === 1) return { learningRate: rates[0]! };
  const { train, dev, test } = task;
  const changes = new Map(rates.map((learningRate) => [`rate-${learningRate}`, { learningRate, seed: 1 }]));
  const settings = settingsOf(task, network, out, threads);
  const result = await searchBest(task.task, { train, dev, test } as never, settings, changes, true);
  if (!result.finished) throw new BenchmarkError(`${out} was interrupted.`);
  const scores = result.scores.test as unknown as Record<string, number>;
  return { learningRate: rates[result.best]!, firstSeed: scores[task.task.metric]! };
}

/** @param firstSeed score of seed 1, where choosing the rate has run it: it is not run again */
async function seedsOf(
  task: ResultTask,
  network: Network,
  out: string,
  { learningRate, firstSeed, seeds, threads }: SeedOptions,
): Promise<Cell> {
  const { train, dev, test } = task;
  const known = firstSeed !== undefined && seeds > 1 ? [firstSeed] : [];
  const changes = seedChanges(1 + known.length, seeds - known.length);
  const timePath = join(out, 'seconds.json');
  const started = performance.now();
  const settings = { ...settingsOf(task, network, out, threads), learningRate };
  const result = await runTrials(task.task, { train, dev, test } as never, settings, changes);
  if (!result.finished) throw new BenchmarkError(`${out} was interrupted.`);
  // Of the start that did the work: a finished run takes no time.
  if (!existsSync(timePath))
    writeFileSync(timePath, JSON.stringify((performance.now() - started) / 1000 / changes.size));
  return {
    ...seedSpreadOf([...known, ...result.test!.values])!,
    learningRate,
    seconds: JSON.parse(readFileSync(timePath, 'utf8')) as number,
  };
}

function baseline(measure: () => number): Cell {
  const started = performance.now();
  const value = measure();
  return { ...seedSpreadOf([value])!, seconds: (performance.now() - started) / 1000 };
}

/** "49.4 ± 0.9 (sd 0.5), 190 s": in percent, with the error of a share of so many examples and, over seeds, the deviation. */
function cellText({ mean, values, standardDeviation, seconds }: Cell, numExamples: number): string {
  const percent = (share: number): string => (100 * share).toFixed(1);
  const error = Math.sqrt((mean * (1 - mean)) / numExamples);
  const spread = values.length > 1 ? ` (sd ${percent(standardDeviation)})` : '';
  return `${percent(mean)} ± ${percent(error)}${spread}, ${seconds.toFixed(0)} s`;
}

function tableText({ systems, tasks }: Table): string {
  const columns = ['task (test)', ...systems].map((header, index) => ({
    header,
    align: index === 0 ? ('left' as const) : ('right' as const),
  }));
  const rows = Object.entries(tasks).map(([name, { examples, cells }]) => [
    `${name} (${examples.test})`,
    ...systems.map((system) => (cells[system] ? cellText(cells[system], examples.test) : '–')),
  ]);
  return markdownTable(columns, rows);
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      clue: text,
      out: text,
      system: { ...text, multiple: true },
      scratch: text,
      seeds: { ...text, default: '3' },
      tasks: text,
      threads: { ...text, default: `${availableParallelism()}` },
      'learning-rates': { ...text, default: '5e-4,1.5e-3' },
    },
  });
  const { clue, out, system = [], scratch } = values;
  if (clue === undefined || out === undefined) throw new BenchmarkError(usage);
  const [seeds, threads] = [Number(values.seeds), Number(values.threads)];
  const rates = values['learning-rates'].split(',').map(Number);
  const names = values.tasks?.split(',') ?? resultTaskNames;
  const unknown = names.find((name) => !resultTaskNames.includes(name));
  if (unknown !== undefined)
    throw new BenchmarkError(`There is no task "${unknown}". There are: ${resultTaskNames.join(', ')}.`);
  const networks: Network[] = [
    ...(scratch === undefined ? [] : [{ name: 'no pre-training', model: scratch, fromScratch: true }]),
    ...system.map((given) => {
      const [name, model] = given.split('=', 2) as [string, string | undefined];
      if (model === undefined) throw new BenchmarkError(`--system ${given}: expected NAME=MODEL.`);
      return { name, model, fromScratch: false };
    }),
  ];
  mkdirSync(out, { recursive: true });
  const table: Table = { systems: ['majority', 'linear', ...networks.map(({ name }) => name)], tasks: {} };
  for (const name of names) {
    const task = await readResultTask(clue, name);
    const [train, dev, test] = [task.train.length, task.dev.length, task.test.length];
    const cells: Record<string, Cell> = {};
    table.tasks[name] = { examples: { train, dev, test }, cells };
    cells.majority = baseline(() => majority(task));
    cells.linear = baseline(() => linear(task));
    const rateOf = new Map<boolean, number>();
    for (const network of networks) {
      const { name: system, fromScratch } = network;
      const folder = join(out, name, system.replace(/[^\w-]+/g, '-'));
      const known = rateOf.get(fromScratch);
      const choice =
        known === undefined
          ? await chooseRate(task, network, `${folder}-rates`, { rates, threads })
          : { learningRate: known };
      rateOf.set(fromScratch, choice.learningRate);
      const cell = await seedsOf(task, network, folder, { ...choice, seeds, threads });
      cells[system] = cell;
      process.stderr.write(`${name}, ${system}, rate ${cell.learningRate}: ${cellText(cell, test)}\n`);
    }
    writeFileSync(join(out, 'table.json'), `${JSON.stringify(table, null, 2)}\n`);
  }
  process.stdout.write(`${tableText(table)}\n${JSON.stringify(table)}\n`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof OpenPlugError)) throw error;
  console.error(`Error: ${error.message}`);
  process.exitCode = 1;
}
