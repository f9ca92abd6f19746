// The quickstart's trainings: both stages, and each task with and without pre-training.
import { join } from 'node:path';
import {
  type ClassifierScores,
  choose,
  evaluateClassifier,
  evaluateGeneration,
  type FinetuneSettings,
  type FinetuneTask,
  finetune,
  type GenerationScores,
  loadClassifier,
  loadGenerator,
} from '../finetune/index.js';
import { type PretrainResult, type PretrainSettings, pretrain, pretrainSchema } from '../pretrain/index.js';
import type { MetricsLine } from '../train/index.js';
import type { QuickstartListener } from './listener.js';
import type { PoetryCorpus } from './poems.js';
import { type QuickstartSettings, shortRun, sizeDefaults, timeShares } from './settings.js';
import { followsTask, lowerLineTask, type TaskData } from './tasks.js';
import { stepsWithin } from './timing.js';

/** Settings of one stage, complete but for the number of steps. */
function stageSettings(settings: QuickstartSettings, poems: PoetryCorpus, stage: 1 | 2): PretrainSettings {
  return pretrainSchema.parse({
    ...shortRun,
    ...sizeDefaults(settings.size)[`stage${stage}`],
    corpus: poems.corpus,
    tokenizer: poems.tokenizer,
    out: join(settings.out, `stage${stage}`),
    stage,
    size: settings.size,
    seed: settings.seed,
    ...(stage === 2 && { init: join(settings.out, 'stage1', 'model') }),
  });
}

/** Number of steps of a stage, measured on this machine. */
export function planStage(
  settings: QuickstartSettings,
  poems: PoetryCorpus,
  stage: 1 | 2,
  seconds: number,
): Promise<number> {
  return stepsWithin(seconds, (folder, totalSteps, onStep) =>
    pretrain(
      {
        ...stageSettings(settings, poems, stage),
        out: folder,
        totalSteps,
        evaluateEvery: 0,
        evaluationBatches: 1,
        mlmFraction: 1,
      },
      { onStep },
    ),
  );
}

/** Runs, or continues, a stage. @throws the signal's reason when interrupted; the stage is saved then */
export async function runStage(
  settings: QuickstartSettings,
  poems: PoetryCorpus,
  stage: 1 | 2,
  totalSteps: number,
  listener: QuickstartListener,
  signal: AbortSignal,
): Promise<PretrainResult> {
  const every = Math.max(1, Math.round(totalSteps / 10));
  const progress = listener.progress(`stage ${stage}`, totalSteps, 'steps');
  const result = await pretrain(
    {
      ...stageSettings(settings, poems, stage),
      totalSteps,
      evaluateEvery: every,
      saveEvery: every,
      keepLast: 1,
    },
    progressOf(progress),
    signal,
  );
  if (!result.finished) signal.throwIfAborted();
  progress.finish();
  return result;
}

function progressOf(progress: ReturnType<QuickstartListener['progress']>) {
  return {
    onStep: (line: MetricsLine) => progress.update(line.step, { loss: Number(line.loss).toFixed(3) }),
    onEvaluate: (line: MetricsLine) => progress.note(describeScores(line)),
    onNote: (text: string) => progress.note(text),
  };
}

/** "step 120: bitsPerCharacter 7.21, mlmAccuracy 0.21". */
function describeScores({ kind: _, step, ...scores }: MetricsLine): string {
  const shown = Object.entries(scores).map(
    ([name, value]) => `${name} ${typeof value === 'number' ? value.toPrecision(4) : value}`,
  );
  return `  step ${step}, held out: ${shown.join(', ')}`;
}

/** Scores of one task's two networks: the same shape, examples and steps, with and without pre-training. */
export interface TaskResult<Scores> {
  steps: number;
  pretrained: Scores;
  fromScratch: Scores;
}

export interface UnderstandingScores {
  test: ClassifierScores;
  predictions: number[];
}

export interface GenerationTaskScores {
  test: GenerationScores;
  choice: { accuracy: number; standardError: number; numExamples: number };
}

interface TaskRun<Scores> {
  task: FinetuneTask;
  share: number;
  settings: Partial<FinetuneSettings>;
  data: Parameters<typeof finetune>[1];
  score(model: string): Scores;
}

/** Fine-tunes and tests the understanding task. */
export function runUnderstanding(
  settings: QuickstartSettings,
  data: TaskData,
  listener: QuickstartListener,
  signal: AbortSignal,
) {
  return runTask<UnderstandingScores>(
    settings,
    {
      task: followsTask,
      share: timeShares.understanding,
      settings: { initialHead: 'sentence' },
      data: { train: data.follows.train, dev: data.follows.dev ?? [] },
      score(model) {
        using classifier = loadClassifier(model);
        const { scores, predictions } = evaluateClassifier(classifier, data.follows.test!);
        return { test: scores, predictions: Array.from(predictions) };
      },
    },
    listener,
    signal,
  );
}

/** Fine-tunes and tests the generation task. */
export function runGeneration(
  settings: QuickstartSettings,
  data: TaskData,
  listener: QuickstartListener,
  signal: AbortSignal,
) {
  return runTask<GenerationTaskScores>(
    settings,
    {
      task: lowerLineTask,
      share: timeShares.generation,
      settings: {},
      data: { train: data.lowerLine.train, dev: data.lowerLine.dev ?? [] },
      score(model) {
        using generator = loadGenerator(model);
        const { scores } = evaluateGeneration(generator, data.lowerLine.test!);
        return { test: scores, choice: choose(generator, data.choices).scores };
      },
    },
    listener,
    signal,
  );
}

async function runTask<Scores>(
  settings: QuickstartSettings,
  run: TaskRun<Scores>,
  listener: QuickstartListener,
  signal: AbortSignal,
): Promise<TaskResult<Scores>> {
  const { task, share, data } = run;
  const common: Omit<FinetuneSettings, 'out'> = {
    model: join(settings.out, 'stage2', 'model'),
    epochs: 50, // the number of steps bounds it, and dev stops it
    ...sizeDefaults(settings.size).finetune,
    seed: settings.seed,
    ...run.settings,
  };
  const steps = await stepsWithin(share * settings.minutes * 60, (folder, maxSteps, onStep) =>
    finetune(task, data, { ...common, out: folder, maxSteps, evaluateEvery: 1000 }, { onStep }),
  );
  const scores: Partial<Record<'pretrained' | 'fromScratch', Scores>> = {};
  for (const name of ['pretrained', 'fromScratch'] as const) {
    const out = join(settings.out, 'finetune', `${task.name}-${name}`);
    const progress = listener.progress(
      `${task.name}, ${name === 'pretrained' ? 'pre-trained' : 'from scratch'}`,
      steps,
      'steps',
    );
    const every = Math.max(1, Math.round(steps / 8));
    const result = await finetune(
      task,
      data,
      { ...common, out, maxSteps: steps, evaluateEvery: every, fromScratch: name === 'fromScratch' },
      progressOf(progress),
      signal,
    );
    if (!result.finished) signal.throwIfAborted();
    progress.finish();
    scores[name] = run.score(join(out, 'model'));
  }
  return { steps, pretrained: scores.pretrained!, fromScratch: scores.fromScratch! };
}
