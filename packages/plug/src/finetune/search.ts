// The best of several settings by successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): all trials are
// trained to their first evaluation, the better half of them to the second, the better half of those to the fourth, and
// so on. Trials are compared at the same evaluation, so their order does not matter, and what decides is read from their
// run folders, so an interrupted search goes on as if it had not been.
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { chooseDType } from '../pretrain/index.js';
import { type MetricsLine, RunFolder } from '../train/index.js';
import { BestCheckpoint, isBetter } from './best-checkpoint.js';
import type { ExampleOf, FinetuneData } from './examples.js';
import { evaluateSplits, type FinetuneScores, finetune } from './finetune.js';
import type { FinetuneSettings } from './settings.js';
import type { FinetuneTask } from './task.js';
import type { TrialStart } from './trials.js';

/** One combination of settings, and how far it came. */
export interface SearchTrial {
  /** Its run folder. */
  out: string;
  /** What sets it apart. */
  settings: Partial<FinetuneSettings>;
  /** Its best evaluation on dev. */
  best: MetricsLine | undefined;
  /** Evaluations until it ended or was stopped. */
  evaluations: number;
  /** True when it was stopped for being in the worse half. */
  stopped: boolean;
}

export type SearchResult<Task extends FinetuneTask> =
  /** Interrupted and saved: the same call continues. */
  | { finished: false; done: number; of: number }
  | {
      finished: true;
      trials: SearchTrial[];
      /** Index of the best. */
      best: number;
      /** The best trial's model, copied to the folder of the search. */
      model: string;
      /** Of the best trial; test was not looked at before it was chosen. */
      scores: FinetuneScores<Task>;
    };

/**
 * Runs, or continues, one fine-tuning for each change of settings, into OUT/NAME, and keeps the best one's model in
 * OUT/model.
 * @param changes settings of each, by the name of its folder
 * @param halving false: all trials are run to their end, as they are without dev
 */
export async function searchBest<Task extends FinetuneTask>(
  task: Task,
  data: FinetuneData<ExampleOf<Task>>,
  base: FinetuneSettings,
  changes: ReadonlyMap<string, Partial<FinetuneSettings>>,
  halving: boolean,
  onStart: TrialStart = () => ({}),
  signal?: AbortSignal,
): Promise<SearchResult<Task>> {
  const { test = [], ...seen } = data;
  const trials = [...changes].map(([name, settings]) => ({ out: join(base.out, name), settings }));
  const finished = new Map<number, FinetuneScores<Task>>();
  const stopped = new Set<number>();
  const interrupted = () =>
    ({ finished: false, done: finished.size + stopped.size, of: trials.length }) as const;

  /** Trains one until it has so many evaluations, or ends; false when it was interrupted. */
  const advance = async (index: number, evaluations: number): Promise<boolean> => {
    if (finished.has(index)) return true;
    const { out, settings } = trials[index]!;
    if (!existsSync(join(out, 'result.json')) && evaluationsOf(out).length >= evaluations) return true;
    const pause = new AbortController();
    const listener = onStart(index, trials.length, settings);
    const result = await finetune(
      task,
      seen as FinetuneData<ExampleOf<Task>>,
      { ...base, ...settings, out },
      {
        ...listener,
        onEvaluate(line) {
          listener.onEvaluate?.(line);
          if (evaluationsOf(out).length >= evaluations) pause.abort();
        },
      },
      AbortSignal.any([pause.signal, ...(signal ? [signal] : [])]),
    );
    if (!result.finished) return pause.signal.aborted && !signal?.aborted;
    const { finished: _, alreadyDone: __, model: ___, ...scores } = result;
    finished.set(index, scores as FinetuneScores<Task>);
    return true;
  };

  let left = [...trials.keys()];
  const isHalved = halving && (data.dev?.length ?? 0) > 0;
  for (let rung = 1; isHalved && left.some((index) => !finished.has(index)) && left.length > 1; rung *= 2) {
    for (const index of left) if (!(await advance(index, rung))) return interrupted();
    const ranked = rankedBy(task.metric, left, (index) => bestOf(task.metric, trials[index]!.out, rung));
    const kept = new Set(ranked.slice(0, Math.ceil(left.length / 2)));
    for (const index of left) {
      if (kept.has(index) || finished.has(index)) continue;
      stopped.add(index);
      // Only a trial that goes on needs them; what was measured stays.
      for (const part of ['checkpoints', 'best'])
        rmSync(join(trials[index]!.out, part), { recursive: true, force: true });
    }
    left = left.filter((index) => kept.has(index));
  }
  for (const index of left) if (!(await advance(index, Number.POSITIVE_INFINITY))) return interrupted();

  const testScores = ({ dtype = 'auto', tokensPerBatch }: FinetuneSettings) =>
    evaluateSplits<Task>(
      base.out,
      { test },
      {
        forward: { computeDType: chooseDType(dtype) },
        ...(tokensPerBatch !== undefined && { tokensPerBatch }),
      },
    );

  const [best] = rankedBy(task.metric, [...finished.keys()], (index) => finished.get(index)!.best);
  const model = copyModel(join(trials[best!]!.out, 'model'), base.out);
  const scores = {
    ...finished.get(best!)!,
    ...(test.length > 0 && testScores({ ...base, ...trials[best!]!.settings })),
  };
  const report = trials.map(
    ({ out, settings }, index): SearchTrial => ({
      out,
      settings,
      best: bestOf(task.metric, out),
      evaluations: evaluationsOf(out).length,
      stopped: stopped.has(index),
    }),
  );
  const write = (name: string, content: unknown): void =>
    writeFileAtomic.sync(join(base.out, name), `${JSON.stringify(content, null, 2)}\n`);
  write('search.json', { trials: report, best });
  write('result.json', scores);
  return { finished: true, trials: report, best: best!, model, scores };
}

function evaluationsOf(out: string): MetricsLine[] {
  return new RunFolder(out).metrics().filter(({ kind }) => kind === 'evaluate');
}

/** The best of a run's first evaluations. */
function bestOf(metric: FinetuneTask['metric'], out: string, count?: number): MetricsLine | undefined {
  const kept = new BestCheckpoint(metric, 0);
  kept.replay(evaluationsOf(out).slice(0, count));
  return kept.best;
}

/** Best first; of equals the earlier trial. */
function rankedBy(
  metric: FinetuneTask['metric'],
  indices: readonly number[],
  lineOf: (index: number) => MetricsLine | undefined,
): number[] {
  const lines = new Map(indices.map((index) => [index, lineOf(index)]));
  return [...indices].sort((a, b) => {
    const [one, other] = [lines.get(a), lines.get(b)];
    if (!one || !other) return a - b;
    return Number(isBetter(metric, other, one)) - Number(isBetter(metric, one, other)) || a - b;
  });
}

/** Copies the best model to OUT/model, which appears whole. */
function copyModel(from: string, out: string): string {
  const [model, writing] = [join(out, 'model'), join(out, '.model-writing')];
  mkdirSync(out, { recursive: true });
  rmSync(writing, { recursive: true, force: true });
  cpSync(from, writing, { recursive: true });
  rmSync(model, { recursive: true, force: true });
  renameSync(writing, model);
  return model;
}
