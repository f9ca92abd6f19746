// Several fine-tunings of one task: the same with different seeds, for a mean and its spread, or with different
// settings, for the best of them on dev. Each is a run folder of its own, so that all continue after an interruption.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { nearestName } from '../config/index.js';
import { ConfigError } from '../errors.js';
import { keyedRandom } from '../random.js';
import type { ExampleOf, FinetuneData } from './examples.js';
import { type FinetuneListener, type FinetuneScores, finetune } from './finetune.js';
import { type FinetuneSettings, finetuneSchema } from './settings.js';
import type { FinetuneTask } from './task.js';

/** A mean over runs. */
export interface Spread {
  mean: number;
  /** Sample standard deviation; NaN for one run. */
  standardDeviation: number;
  values: number[];
}

/** What one of several runs found. */
export interface Trial<Task extends FinetuneTask> extends FinetuneScores<Task> {
  /** Its run folder. */
  out: string;
  /** What sets it apart. */
  settings: Partial<FinetuneSettings>;
}

/** What several runs found; unfinished when they were interrupted. */
export type TrialsResult<Task extends FinetuneTask> =
  | { finished: false; done: number; of: number }
  | {
      finished: true;
      trials: Trial<Task>[];
      dev: Spread | undefined;
      test: Spread | undefined;
      best: number;
    };

/** Called before each run. */
export type TrialStart = (index: number, of: number, settings: Partial<FinetuneSettings>) => FinetuneListener;

/**
 * Runs, or continues, one fine-tuning for each change of settings, into OUT/NAME.
 * @param changes settings of each, by the name of its folder
 * @returns all scores; `best` is the index of the best on dev, or of the first without dev
 */
export async function runTrials<Task extends FinetuneTask>(
  task: Task,
  data: FinetuneData<ExampleOf<Task>>,
  base: FinetuneSettings,
  changes: ReadonlyMap<string, Partial<FinetuneSettings>>,
  onStart: TrialStart = () => ({}),
  signal?: AbortSignal,
): Promise<TrialsResult<Task>> {
  const trials: Trial<Task>[] = [];
  for (const [name, settings] of changes) {
    const out = join(base.out, name);
    const listener = onStart(trials.length, changes.size, settings);
    const result = await finetune(task, data, { ...base, ...settings, out }, listener, signal);
    if (!result.finished) return { finished: false, done: trials.length, of: changes.size };
    const { finished: _, alreadyDone: __, model: ___, ...scores } = result;
    trials.push({ out, settings, ...scores });
  }
  const valuesOf = (split: 'dev' | 'test'): number[] =>
    trials.flatMap((trial) => {
      const scores = trial[split] as Record<string, unknown> | undefined;
      return scores ? [Number(scores[task.metric])] : [];
    });
  const [dev, test] = [spreadOf(valuesOf('dev')), spreadOf(valuesOf('test'))];
  const sign = task.metric === 'loss' ? -1 : 1;
  const signed = (dev?.values ?? [0]).map((value) => sign * value);
  const best = signed.indexOf(Math.max(...signed));
  const result = { trials, dev, test, best };
  mkdirSync(base.out, { recursive: true });
  writeFileAtomic.sync(join(base.out, 'trials.json'), `${JSON.stringify(result, null, 2)}\n`);
  return { finished: true, ...result };
}

/** Seeds `first`, `first` + 1, …, in folders named after them. */
export function seedChanges(first: number, count: number): Map<string, Partial<FinetuneSettings>> {
  return new Map(
    Array.from({ length: count }, (_, index) => [`seed-${first + index}`, { seed: first + index }]),
  );
}

/** Mean and sample standard deviation; undefined without values. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, standardDeviation: Math.sqrt(squares / (values.length - 1)), values: [...values] };
}

/**
 * All combinations of a space of settings, `{"learningRate": [1e-4, 3e-4], "epochs": [3, 5]}`, or `count` of them drawn
 * at random.
 * @throws ConfigError for a file that is no such space, or a setting that does not exist
 */
export function searchChanges(
  file: string,
  count: number | undefined,
  seed: number,
): Map<string, Partial<FinetuneSettings>> {
  const space = readSpace(file);
  let all: Record<string, unknown>[] = [{}];
  for (const [name, values] of space)
    all = all.flatMap((combination) => values.map((value) => ({ ...combination, [name]: value })));
  const chosen =
    count === undefined
      ? all
      : keyedRandom(seed, searchKey)
          .shuffle([...all])
          .slice(0, count);
  return new Map(
    chosen.map((combination) => {
      const name = Object.entries(combination)
        .map(([key, value]) => `${key}-${String(value).replace(/[^\w.+-]+/g, '_')}`)
        .join('_');
      return [name, combination as Partial<FinetuneSettings>];
    }),
  );
}

const searchKey = 0x5ea2;

function readSpace(file: string): [string, readonly unknown[]][] {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${file} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json) || Object.keys(json).length === 0)
    throw new ConfigError(`${file}: expected an object from settings to lists of values.`);
  const known = Object.keys(finetuneSchema.shape).filter((name) => name !== 'out');
  return Object.entries(json).map(([name, values]) => {
    if (!known.includes(name)) {
      const nearest = nearestName(name, known);
      throw new ConfigError(
        `${file}: there is no setting "${name}".${nearest ? ` Did you mean "${nearest}"?` : ''}`,
      );
    }
    if (!Array.isArray(values) || values.length === 0)
      throw new ConfigError(`${file}: "${name}" needs a list of values, got ${JSON.stringify(values)}.`);
    for (const value of values) {
      const checked = finetuneSchema.shape[name as keyof typeof finetuneSchema.shape].safeParse(value);
      if (!checked.success)
        throw new ConfigError(
          `${file}: ${name} cannot be ${JSON.stringify(value)}: ${checked.error.issues[0]?.message}.`,
        );
    }
    return [name, values];
  });
}
