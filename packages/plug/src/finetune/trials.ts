// Several fine-tunings of one task that differ in a setting, as the seed: a mean and its spread. Each is a run folder of
// its own, so that all continue after an interruption. The best of many settings is search.ts's.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import type { ExampleOf, FinetuneData } from './examples.js';
import { type FinetuneListener, type FinetuneScores, finetune } from './finetune.js';
import type { FinetuneSettings } from './settings.js';
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
