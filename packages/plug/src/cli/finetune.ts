// `plug finetune`: a task on a model, from files; once, with several seeds, or over a space of settings.
import type { Command } from 'commander';
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { terminalTable } from '../evaluate/index.js';
import {
  describeData,
  type FinetuneListener,
  type FinetunePlan,
  type FinetuneSettings,
  type FinetuneTask,
  findSplitFiles,
  findTask,
  finetune,
  finetuneSchema,
  readExamples,
  runTrials,
  type SearchResult,
  type Spread,
  searchBest,
  searchChanges,
  seedChanges,
  splitNames,
  type TrialsResult,
} from '../finetune/index.js';
import { defineCommand } from './command.js';
import { describeScores } from './finetune-scores.js';
import { createProgress, type Progress } from './progress.js';

const schema = z.strictObject({
  task: z
    .string()
    .optional()
    .describe('the task, if it is not the first word: a name, or a JSON file that describes one'),
  data: z
    .array(z.string())
    .min(1)
    .describe(
      'folder with train…, dev… and test… files (JSON lines or arrays, CSV, TSV, Parquet), or such files',
    ),
  seeds: z
    .int()
    .min(1)
    .default(1)
    .describe('runs with seeds --seed, --seed + 1, …; reports mean and standard deviation'),
  search: z
    .string()
    .optional()
    .describe(
      'JSON file with a space of settings, {"learningRate": [1e-4, 3e-4]}: one run for each combination',
    ),
  trials: z.int().min(1).optional().describe('with --search: this many combinations, drawn at random'),
  halving: z
    .boolean()
    .default(true)
    .describe('with --search: stop the worse half of the runs on dev after evaluations 1, 2, 4, …'),
  ...finetuneSchema.shape,
});

export function registerFinetune(program: Command): void {
  defineCommand(program, {
    name: 'finetune',
    summary: 'train a model on a task: classification, choice, answers in texts, or source to target',
    description:
      'Keeps the model of the best evaluation on dev in OUT/model, and its scores in OUT/result.json.\n' +
      'A task file holds {"name", "kind": "classification", "columns": {"text", "textPair", "label"}, "labels": [...],\n' +
      '"metric": "accuracy"}; or kind "choice" with columns text, candidates, answer; or "span" with question, context,\n' +
      'answer, answerStart; or "generation" with source, target. Columns may be templates: "{title}。{body}".',
    words: [{ name: '[task]', description: 'ocnli, tnews, cmrc2018, fewclue-chid, … or a JSON file' }],
    schema,
    interruptible: true,
    examples: [
      [
        'plug finetune ocnli --model runs/quickstart --data data/ocnli --out runs/ocnli',
        'inference between two sentences; run it again to continue',
      ],
      [
        'plug finetune own-task.json --model runs/quickstart --data train.csv dev.csv --out runs/own',
        'an own task',
      ],
      [
        'plug finetune tnews --model runs/quickstart --data data/tnews --seeds 5 --lora-rank 8 --out runs/tnews',
        'adapters alone, five times: mean and standard deviation',
      ],
      [
        'plug finetune ocnli --model runs/quickstart --from-scratch --data data/ocnli --out runs/baseline',
        'the same network without pre-training',
      ],
    ],
    async run({ settings: given, words, signal }) {
      const { task: named, data: paths, seeds, search, trials, halving, ...settings } = given;
      const task = findTask(taskName(words, named));
      const { data, notes } = await readData(paths, task);
      checkAsked({ seeds, search, trials });
      const of = { run: settings.out, task: task.name };
      if (search === undefined && seeds === 1) {
        const listener = listenerFor(`finetune ${task.name}`, notes, settings.tokensPerBatch);
        const result = await finetune(task, data, settings, listener, signal);
        listener.finish();
        return { ...of, ...result, notes };
      }
      let listener: ReturnType<typeof listenerFor> | undefined;
      const onStart = (index: number, count: number): FinetuneListener => {
        listener?.finish();
        const label = `finetune ${task.name}, run ${index + 1} of ${count}`;
        listener = listenerFor(label, notes, settings.tokensPerBatch);
        return listener;
      };
      try {
        const result =
          search === undefined
            ? await runTrials(task, data, settings, seedChanges(settings.seed, seeds), onStart, signal)
            : await searchBest(
                task,
                data,
                settings,
                searchChanges(search, trials, settings.seed),
                halving,
                onStart,
                signal,
              );
        return { ...of, metric: task.metric, ...result, notes: [...new Set(notes)] };
      } finally {
        listener?.finish();
      }
    },
    render(result) {
      if ('of' in result)
        return `Stopped after ${result.done} of ${result.of} runs; all is saved. The same command continues from there.`;
      if ('scores' in result) return [describeSearch(result), ...result.notes].join('\n');
      if ('trials' in result) return [describeTrials(result), ...result.notes].join('\n');
      if (!result.finished)
        return `Stopped after step ${result.step}; all is saved. The same command continues from there.`;
      const head = result.alreadyDone ? 'This run had been finished before.' : `Model: ${result.model}`;
      const ended = result.stoppedEarly ? ', stopped early' : '';
      return [
        head,
        `Best evaluation at step ${result.best.step} of ${result.steps}${ended}.`,
        ...(result.dev ? ['', `dev: ${describeScores(result.dev, undefined)}`] : []),
        ...(result.test ? ['', `test: ${describeScores(result.test, undefined)}`] : []),
        ...result.notes,
      ].join('\n');
    },
  });
}

function taskName([word, ...more]: readonly string[], named: string | undefined): string {
  if (more.length > 0) throw new ConfigError(`One task at a time, got ${[word, ...more].join(', ')}.`);
  if (word !== undefined && named !== undefined)
    throw new ConfigError(`The task is given twice: ${word} and --task ${named}.`);
  const name = word ?? named;
  if (name === undefined)
    throw new ConfigError('Name a task: plug finetune TASK --model … --data … --out ….');
  return name;
}

async function readData(paths: readonly string[], task: FinetuneTask) {
  const files = findSplitFiles(paths, task);
  const read = {
    train: await readExamples(files.train, task),
    dev: await readExamples(files.dev, task),
    test: await readExamples(files.test, task),
  };
  const notes = splitNames
    .filter((split) => read[split].dropped > 0)
    .map(
      (split) =>
        `${split}: ${read[split].dropped} rows left out for their label (${files[split].join(', ')})`,
    );
  notes.push(...describeData(read));
  const data = { train: read.train.examples, dev: read.dev.examples, test: read.test.examples };
  if (data.dev.length === 0)
    notes.push('There is no dev file: no early stopping, and the last model is kept.');
  return { data, notes };
}

/** @throws ConfigError for what does not go together */
function checkAsked(asked: { seeds: number; search: string | undefined; trials: number | undefined }): void {
  const { seeds, search, trials } = asked;
  if (trials !== undefined && search === undefined)
    throw new ConfigError(
      '--trials says how many combinations of --search are tried: give a space with --search.',
    );
  if (search !== undefined && seeds > 1)
    throw new ConfigError(
      '--search and --seeds: search first, then run the best settings with several seeds.',
    );
}

function listenerFor(label: string, notes: string[], asked: number): FinetuneListener & { finish(): void } {
  let plan: FinetunePlan | undefined;
  let progress: Progress | undefined;
  const progressFrom = (startAt: number): Progress => {
    progress ??= createProgress({ label, total: plan?.totalSteps ?? 0, unit: 'steps', startAt });
    return progress;
  };
  return {
    onPlan(made) {
      plan = made;
      if (made.tokensPerBatch < asked)
        notes.push(
          `Memory is short: micro-batches of ${made.tokensPerBatch} tokens, ${made.accumulationSteps} of them a step.`,
        );
      if (made.truncated > 0)
        notes.push(`${made.truncated} of ${made.trainExamples} training examples were cut to fit.`);
    },
    onResume: (step) => progressFrom(step).note(`Continuing after step ${step}.`),
    onNote: (text) => progressFrom(0).note(text),
    onStep: ({ step, loss }) => progressFrom(step - 1).update(step, { loss: Number(loss).toFixed(3) }),
    onEvaluate: ({ kind: _, step, ...scores }) => progressFrom(step).note(evaluationLine(step, scores)),
    finish: () => progress?.finish(),
  };
}

function evaluationLine(step: number, scores: Record<string, number | string>): string {
  const shown = Object.entries(scores).map(([name, value]) => `${name} ${Number(value).toFixed(4)}`);
  return `step ${step}: ${shown.length > 0 ? shown.join(', ') : 'no dev examples'}`;
}

function describeTrials({
  trials,
  dev,
  test,
  best,
  metric,
}: Extract<TrialsResult<FinetuneTask>, { finished: true }> & { metric: string }): string {
  const shown = (spread: Spread | undefined, index: number): string =>
    spread?.values[index]?.toFixed(4) ?? '–';
  const rows = trials.map(({ settings, steps }, index) => [
    settingsName(settings, index === best),
    shown(dev, index),
    shown(test, index),
    `${steps}`,
  ]);
  const mean = (spread: Spread | undefined): string =>
    spread ? `${spread.mean.toFixed(4)} ± ${spread.standardDeviation.toFixed(4)}` : '–';
  return terminalTable(columnsOf(`dev ${metric}`, `test ${metric}`, 'steps'), [
    ...rows,
    ['mean ± standard deviation', mean(dev), mean(test), ''],
  ]);
}

function describeSearch({
  trials,
  best,
  model,
  scores,
  metric,
}: Extract<SearchResult<FinetuneTask>, { finished: true }> & { metric: string }): string {
  const rows = trials.map((trial, index) => [
    settingsName(trial.settings, index === best),
    Number(trial.best?.[metric] ?? Number.NaN).toFixed(4),
    trial.stopped ? `stopped after ${trial.evaluations}` : `${trial.evaluations}`,
  ]);
  return [
    terminalTable(columnsOf(`best dev ${metric}`, 'evaluations'), rows).trimEnd(),
    `Model of the best: ${model}`,
    ...(scores.dev ? ['', `dev: ${describeScores(scores.dev, undefined)}`] : []),
    ...(scores.test ? ['', `test: ${describeScores(scores.test, undefined)}`] : []),
  ].join('\n');
}

function settingsName(settings: Partial<FinetuneSettings>, isBest: boolean): string {
  const named = Object.entries(settings).map(([name, value]) => `${name} ${value}`);
  return `${named.join(', ')}${isBest ? ' (best)' : ''}`;
}

function columnsOf(...headers: string[]): { header: string; align: 'left' | 'right' }[] {
  return [
    { header: 'settings', align: 'left' },
    ...headers.map((header) => ({ header, align: 'right' as const })),
  ];
}
