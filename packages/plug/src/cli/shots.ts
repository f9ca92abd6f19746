// `plug evaluate --shots`: a task told in words, without or after a few examples.
import { ConfigError } from '../errors.js';
import {
  type ChoiceExample,
  type ClassificationExample,
  evaluateFewShot,
  evaluateZeroShot,
  findSplitFiles,
  findTask,
  keepEvaluation,
  readExamples,
  type ShotScores,
  type SplitName,
} from '../finetune/index.js';
import { createProgress } from './progress.js';

export interface ShotSettings {
  model: string;
  task?: string | undefined;
  data: readonly string[];
  shots: number;
  split: SplitName;
  out?: string | undefined;
  seed: number;
  calibrate: boolean;
  promptTokens: number;
  promptOnly: boolean;
  epochs?: number | undefined;
  learningRate?: number | undefined;
}

export interface ShotReport extends ShotScores {
  task: string;
  shots: number;
  calibrated: boolean;
}

/** Undefined when training was interrupted. */
export async function runShots(settings: ShotSettings, signal: AbortSignal): Promise<ShotReport | undefined> {
  const { model, shots, out, seed, calibrate, promptTokens, promptOnly, epochs, learningRate } = settings;
  if (settings.task === undefined) throw new ConfigError('--shots needs a --task, and the --data of it.');
  const task = findTask(settings.task);
  if (task.kind !== 'classification' && task.kind !== 'choice')
    throw new ConfigError(`--shots is for classification and choice, but ${task.name} is ${task.kind}.`);
  const files = findSplitFiles(settings.data, task);
  const read = async (split: SplitName): Promise<(ClassificationExample | ChoiceExample)[]> =>
    (await readExamples(files[split], task)).examples;
  const examples = await read(settings.split);
  if (examples.length === 0)
    throw new ConfigError(`There are no ${settings.split} examples in ${settings.data.join(', ')}.`);
  const told = { task: task.name, shots, calibrated: calibrate };
  if (shots === 0 && promptTokens > 0)
    throw new ConfigError('--prompt-tokens are trained: give --shots above 0 with them.');
  const keep = (scores: ShotScores): ShotReport => {
    const made = { task, model, files: files[settings.split], scores, shots, calibrated: calibrate };
    if (out !== undefined) keepEvaluation(out, settings.split, made);
    return { ...told, ...scores };
  };
  if (shots === 0) return keep(evaluateZeroShot(model, task, examples, { calibrate }));
  if (out === undefined) throw new ConfigError('--shots above 0 trains: name a run folder with --out.');
  let progress: ReturnType<typeof createProgress> | undefined;
  const scores = await evaluateFewShot(
    task,
    await read('train'),
    examples,
    { model, out, seed, shots, promptTokens, promptOnly, epochs, learningRate },
    { calibrate },
    {
      onPlan: ({ totalSteps }) => {
        progress = createProgress({
          label: `${shots} shots of ${task.name}`,
          total: totalSteps,
          unit: 'steps',
        });
      },
      onStep: ({ step, loss }) => progress?.update(step, { loss: Number(loss).toFixed(3) }),
    },
    signal,
  );
  progress?.finish();
  return scores && keep(scores);
}

export function describeShots({ task, shots, calibrated, trained, ...scores }: ShotReport): string {
  const { accuracy, standardError, interval, numExamples } = scores;
  const percent = (value: number): string => (100 * value).toFixed(2);
  return (
    `${task}, ${shots} shots${trained > 0 ? ` (${trained} examples)` : ''}${calibrated ? ', calibrated' : ''}: accuracy ` +
    `${percent(accuracy)} ± ${percent(standardError)} % (95 %: ${percent(interval.low)} to ${percent(interval.high)}, ${numExamples} examples)`
  );
}
