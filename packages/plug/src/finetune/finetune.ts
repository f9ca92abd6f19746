// One fine-tuning run, from a task, its examples and settings to a finished run folder: `model/` is the model of
// the best evaluation, `result.json` its scores, `errors/` what it got wrong.
import { createHash } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import { join } from 'node:path';
import { type DType, setNumThreads } from '@openplug/torch';
import writeFileAtomic from 'write-file-atomic';
import { mergeAdapter, readModelConfig, resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import type { ForwardOptions } from '../model/index.js';
import { chooseDType } from '../pretrain/index.js';
import {
  type MetricsLine,
  RunFolder,
  type Trainable,
  type TrainingListener,
  type TrainingObjective,
  train,
} from '../train/index.js';
import { BestCheckpoint } from './best-checkpoint.js';
import type { ScoringOptions } from './classifier.js';
import { writeErrors } from './error-rows.js';
import { epochEnds } from './example-batches.js';
import { checkExamples, type ExampleOf, type FinetuneData, type TaskExample } from './examples.js';
import { batchesOfRun, fitBatch, type StepBatches, trainedBeside } from './fit-batch.js';
import { readJson } from './json.js';
import {
  evaluateTask,
  loadTaskModel,
  type ScoresOf,
  startTaskModel,
  type TaskScores,
  taskObjective,
} from './kinds.js';
import { layerRate } from './layer-rates.js';
import { type FinetuneSettings, type ResolvedFinetuneSettings, resolveFinetuneSettings } from './settings.js';
import type { FinetuneTask } from './task.js';

const wordEmbeddings = 'bert.embeddings.word_embeddings.weight';

/** Smaller micro-batches where the machine's free memory asks for them. */
function fittedBatches(
  start: string,
  { kind }: FinetuneTask,
  settings: ResolvedFinetuneSettings,
  dtype: DType,
): StepBatches {
  const decoderLess = kind === 'generation' ? {} : { decHiddenLayers: 0 };
  const config = { ...readModelConfig(start), ...decoderLess };
  const longest = settings.maxLength + (kind === 'generation' ? settings.maxTargetLength : 0);
  const trained = trainedBeside(config, settings);
  const work = { ...settings, dtype: dtype === 'bfloat16' ? dtype : 'float32', longest, trained } as const;
  return fitBatch(config, work, freemem());
}

/** What a run will do, known before its first step. */
export interface FinetunePlan {
  /** Steps if nothing ends the run early. */
  totalSteps: number;
  trainExamples: number;
  /** Training examples of which text is cut off. */
  truncated: number;
  learningRate: number;
  maxLength: number;
  /** How a step is divided, smaller than asked for where memory is short. */
  tokensPerBatch: number;
  accumulationSteps: number;
}

/** Hears of progress. */
export interface FinetuneListener extends TrainingListener {
  onPlan?(plan: FinetunePlan): void;
}

/** What a finished run found. */
export interface FinetuneScores<Task extends FinetuneTask> {
  /** The evaluation that the model was kept from. */
  best: MetricsLine;
  /** Steps taken. */
  steps: number;
  /** True when dev stopped getting better before the last epoch. */
  stoppedEarly: boolean;
  plan: FinetunePlan;
  /** Scores of the kept model. */
  dev?: ScoresOf<Task>;
  test?: ScoresOf<Task>;
}

export type FinetuneResult<Task extends FinetuneTask> =
  /** Interrupted and saved: the same call continues. */
  | { finished: false; step: number }
  | ({
      finished: true;
      /** Model folder, for `loadClassifier` or `loadGenerator`. */
      model: string;
      /** True when the run had been finished before and nothing was done. */
      alreadyDone: boolean;
    } & FinetuneScores<Task>);

/**
 * Runs, or continues, a fine-tuning. The same settings, examples and folder give the same model, bit for bit,
 * whatever interruptions there were.
 * @throws ConfigError when settings, examples or the run in the folder do not fit together
 */
export async function finetune<Task extends FinetuneTask>(
  task: Task,
  data: FinetuneData<ExampleOf<Task>>,
  given: FinetuneSettings,
  listener: FinetuneListener = {},
  signal?: AbortSignal,
): Promise<FinetuneResult<Task>> {
  const start = resolveModelFolder(given.model);
  const resolved = resolveFinetuneSettings(given, task, readModelConfig(start));
  const dtype = chooseDType(resolved.dtype);
  const settings = {
    ...resolved,
    ...(batchesOfRun(resolved.out, resolved) ?? fittedBatches(start, task, resolved, dtype)),
    dtype,
    threads: resolved.threads ?? availableParallelism(),
  };
  checkData(task, data);
  const { out } = settings;
  const run = new RunFolder(out);
  run.claimSettings({
    kind: 'finetune',
    task,
    examples: fingerprints(data),
    ...settings,
    model: start,
    out: '.',
  });
  const model = join(out, 'model');
  const resultPath = join(out, 'result.json');
  if (existsSync(resultPath) && existsSync(model)) {
    const scores = readJson(resultPath) as FinetuneScores<Task>;
    return { finished: true, model, alreadyDone: true, ...scores };
  }

  setNumThreads(settings.threads);
  const forward: ForwardOptions = { computeDType: settings.dtype };
  const kept = new BestCheckpoint(task.metric, data.dev?.length ? settings.patience : 0);
  const { plan, result } = await trainKeepingBest();
  if (!result.finished) return { finished: false, step: result.step };

  const bestFolder = join(out, 'best');
  if (existsSync(bestFolder)) {
    const finished =
      settings.loraRank > 0 && settings.loraSave === 'merged' ? await mergedFrom(out) : bestFolder;
    rmSync(model, { recursive: true, force: true });
    renameSync(finished, model);
    rmSync(bestFolder, { recursive: true, force: true });
  }
  const scores: FinetuneScores<Task> = {
    best: kept.best!,
    steps: result.step,
    stoppedEarly: result.step < plan.totalSteps,
    plan,
    ...evaluateSplits<Task>(out, data, { forward, tokensPerBatch: settings.tokensPerBatch }),
  };
  writeFileAtomic.sync(resultPath, `${JSON.stringify(scores, null, 2)}\n`);
  return { finished: true, model, alreadyDone: false, ...scores };

  async function trainKeepingBest() {
    using trainable = startTaskModel(start, task, resolved);
    const objective = taskObjective(trainable, data, settings);
    const ends = epochEnds(objective.lengths, settings, settings.epochs).map((batches) =>
      Math.ceil(batches / settings.accumulationSteps),
    );
    const totalSteps = Math.min(ends.at(-1)!, settings.maxSteps ?? Number.POSITIVE_INFINITY);
    const { learningRate, maxLength, tokensPerBatch, accumulationSteps } = settings;
    const plan: FinetunePlan = {
      totalSteps,
      trainExamples: data.train.length,
      truncated: objective.truncated,
      learningRate,
      maxLength,
      tokensPerBatch,
      accumulationSteps,
    };
    listener.onPlan?.(plan);
    const result = await train(
      trainable,
      { ...objective, isDone: () => kept.exhausted } satisfies TrainingObjective,
      {
        ...settings,
        totalSteps,
        computeDType: settings.dtype,
        evaluateAt: settings.evaluateEvery === 0 ? ends : [],
        rateFactor: (name) => layerRate(name, settings.layerDecay, trainable.model.config),
        adversary:
          settings.adversarial > 0
            ? { parameter: wordEmbeddings, distance: settings.adversarial }
            : undefined,
        averageDecay: settings.averageDecay > 0 ? settings.averageDecay : undefined,
      },
      run,
      {
        ...listener,
        onResume(step) {
          kept.replay(run.metrics());
          listener.onResume?.(step);
        },
        onEvaluate(line) {
          if (kept.take(line)) saveBest(out, trainable);
          listener.onEvaluate?.(line);
        },
      },
      signal,
    );
    return { plan, result };
  }
}

/**
 * Puts the model into `best/`. A crash between the two steps loses nothing: the evaluation is after the last
 * checkpoint then, and is done again.
 */
function saveBest(out: string, trainable: Trainable): void {
  const [best, writing] = [join(out, 'best'), join(out, '.best-writing')];
  rmSync(writing, { recursive: true, force: true });
  trainable.save(writing);
  rmSync(best, { recursive: true, force: true });
  renameSync(writing, best);
}

/** The best model with its adapters merged into its weights. */
async function mergedFrom(out: string): Promise<string> {
  const writing = join(out, '.merged');
  rmSync(writing, { recursive: true, force: true });
  await mergeAdapter(join(out, 'best'), writing);
  return writing;
}

/** Scores the model of a finished run, and leaves beside it what it got wrong. */
export function evaluateSplits<Task extends FinetuneTask>(
  run: string,
  data: Pick<FinetuneData<ExampleOf<Task>>, 'dev' | 'test'>,
  options: ScoringOptions,
): Partial<Record<'dev' | 'test', ScoresOf<Task>>> {
  const scores: Partial<Record<'dev' | 'test', TaskScores>> = {};
  using model = loadTaskModel(join(run, 'model'));
  for (const split of ['dev', 'test'] as const) {
    const examples = data[split] ?? [];
    if (examples.length === 0) continue;
    const made = evaluateTask(model, examples, options);
    scores[split] = made.scores;
    if (made.rows.length > 0) writeErrors(run, split, model.task, examples, made.rows);
  }
  return scores as Partial<Record<'dev' | 'test', ScoresOf<Task>>>;
}

function checkData(task: FinetuneTask, data: FinetuneData<TaskExample>): void {
  if (data.train.length === 0) throw new ConfigError(`The task ${task.name} has no training examples.`);
  for (const split of ['train', 'dev', 'test'] as const) checkExamples(data[split] ?? [], task, split);
}

/** By split, so that a continued run is one on the same examples. */
function fingerprints(data: FinetuneData<unknown>): Record<string, string> {
  const of = (examples: readonly unknown[] = []): string =>
    createHash('sha256').update(JSON.stringify(examples)).digest('hex');
  return { train: of(data.train), dev: of(data.dev), test: of(data.test) };
}
