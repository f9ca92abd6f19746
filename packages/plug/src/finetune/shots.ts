// Few examples: a task told in words (zero-shot.ts), with the words of K examples of each label trained first, as in
// pattern-exploiting training (Schick and Schütze 2021, arXiv 2001.07676), here with the decoder as the judge.
import { loadModel, resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { type Accuracy, accuracy, type Interval, meanInterval } from '../evaluate/index.js';
import { keyedRandom } from '../random.js';
import { loadTokenizer } from '../text/index.js';
import type { ChoiceExample, ClassificationExample } from './examples.js';
import { type FinetuneListener, finetune } from './finetune.js';
import type { FinetuneSettings } from './settings.js';
import { type PromptedTask, predictZeroShot, verbalizedTarget, type ZeroShotOptions } from './zero-shot.js';

type Example = ClassificationExample | ChoiceExample;

/** Scores without or after a few examples. */
export interface ShotScores extends Accuracy {
  /** Of accuracy, 95 %, by bootstrap. */
  interval: Interval;
  /** Examples that were trained on. */
  trained: number;
}

const shotKey = 0x5407;

/**
 * K examples of each label (of choices: K in all), drawn by the seed, in the order of the data.
 * @throws ConfigError when a label has fewer
 */
export function chooseShots<Chosen extends Example>(
  task: PromptedTask,
  train: readonly Chosen[],
  shots: number,
  seed: number,
): Chosen[] {
  const groups = new Map<number, number[]>();
  for (const [index, example] of train.entries()) {
    const group = 'label' in example ? example.label : 0;
    groups.set(group, [...(groups.get(group) ?? []), index]);
  }
  const chosen: number[] = [];
  for (const [group, indices] of groups) {
    if (indices.length < shots)
      throw new ConfigError(
        `${shots} examples of each label were asked for, but ${task.name} has ${indices.length} ` +
          `${task.kind === 'classification' ? `of the label ${task.labels[group]}` : 'in all'} to train on.`,
      );
    chosen.push(
      ...keyedRandom(seed, shotKey, group)
        .shuffle([...indices])
        .slice(0, shots),
    );
  }
  return chosen.sort((a, b) => a - b).map((index) => train[index]!);
}

/**
 * Accuracy of a model with a decoder, without a head.
 * @throws ConfigError without examples, or words for the labels
 */
export function evaluateZeroShot(
  path: string,
  task: PromptedTask,
  examples: readonly Example[],
  options: ZeroShotOptions = {},
): ShotScores {
  const folder = resolveModelFolder(path);
  using model = loadModel(folder, { precision: 'float32' });
  const predictions = predictZeroShot(model, loadTokenizer(folder), task, examples, options);
  const answers = examples.map((example) => ('label' in example ? example.label : example.answer));
  const choices = predictions.map(({ choice }) => choice);
  const right = answers.map((answer, index) => (answer === choices[index] ? 1 : 0));
  return { ...accuracy(choices, answers), interval: meanInterval(right), trained: 0 };
}

/**
 * Trains on K examples in words, into a run folder, and scores the result.
 * @param settings of the training; `out` is the run folder
 * @returns undefined when it was interrupted: the same call continues
 */
export async function evaluateFewShot(
  task: PromptedTask,
  train: readonly Example[],
  examples: readonly Example[],
  settings: FinetuneSettings & { shots: number },
  options: ZeroShotOptions = {},
  listener: FinetuneListener = {},
  signal?: AbortSignal,
): Promise<ShotScores | undefined> {
  const { shots, ...training } = settings;
  const chosen = chooseShots(task, train, shots, training.seed ?? 1);
  const told = chosen.map((example) =>
    verbalizedTarget(task, example, 'label' in example ? example.label : example.answer),
  );
  const inWords = {
    name: `${task.name}-in-words`,
    kind: 'generation',
    columns: { source: 'source', target: 'target' },
    metric: 'loss',
    ...(task.defaults && { defaults: task.defaults }),
  } as const;
  const result = await finetune(inWords, { train: told }, training, listener, signal);
  if (!result.finished) return undefined;
  return { ...evaluateZeroShot(result.model, task, examples, options), trained: chosen.length };
}
