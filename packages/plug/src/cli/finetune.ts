// `plug finetune`: a task on a model, from files.
import type { Command } from 'commander';
import { z } from 'zod';
import {
  describeData,
  type FinetunePlan,
  findSplitFiles,
  findTask,
  finetune,
  finetuneSchema,
  readExamples,
  splitNames,
} from '../finetune/index.js';
import { defineCommand } from './command.js';
import { describeScores } from './finetune-scores.js';
import { createProgress, type Progress } from './progress.js';

const schema = z.strictObject({
  task: z.string().describe('name of a task (ocnli, cmnli, afqmc, tnews), or a JSON file that describes one'),
  data: z
    .array(z.string())
    .min(1)
    .describe('folder with train…, dev… and test… files of JSON lines or arrays, or such files'),
  ...finetuneSchema.shape,
});

export function registerFinetune(program: Command): void {
  defineCommand(program, {
    name: 'finetune',
    summary: 'train a model on a task: classification of texts or pairs, or source to target',
    description:
      'Keeps the model of the best evaluation on dev in OUT/model, and its scores in OUT/result.json.\n' +
      'A task file holds {"name", "kind": "classification", "columns": {"text", "textPair", "label"}, "labels": [...],\n' +
      '"metric": "accuracy"} or {"name", "kind": "generation", "columns": {"source", "target"}, "metric": "loss"}.',
    schema,
    interruptible: true,
    examples: [
      [
        'plug finetune --task ocnli --model runs/quickstart --data data/ocnli --out runs/ocnli',
        'inference between two sentences; run it again to continue',
      ],
      [
        'plug finetune --task couplets.json --model runs/quickstart --data train.jsonl dev.jsonl --out runs/couplets',
        'an own task',
      ],
      [
        'plug finetune --task ocnli --model runs/quickstart --from-scratch --data data/ocnli --out runs/baseline',
        'the same network without pre-training',
      ],
    ],
    async run({ settings: { task: taskName, data: paths, ...settings }, signal }) {
      const task = findTask(taskName);
      const files = findSplitFiles(paths, task);
      const read = {
        train: await readExamples(files.train, task),
        dev: await readExamples(files.dev, task),
        test: await readExamples(files.test, task),
      };
      const data = {
        train: read.train.examples,
        dev: read.dev.examples,
        test: read.test.examples,
      };
      const notes = splitNames
        .filter((split) => read[split].dropped > 0)
        .map(
          (split) =>
            `${split}: ${read[split].dropped} rows left out for their label (${files[split].join(', ')})`,
        );
      notes.push(...describeData(read));
      if (data.dev.length === 0)
        notes.push('There is no dev file: no early stopping, and the last model is kept.');

      let plan: FinetunePlan | undefined;
      let progress: Progress | undefined;
      const progressFrom = (startAt: number): Progress => {
        const label = `finetune ${task.name}`;
        progress ??= createProgress({ label, total: plan?.totalSteps ?? 0, unit: 'steps', startAt });
        return progress;
      };
      const result = await finetune(
        task,
        data,
        settings,
        {
          onPlan(made) {
            plan = made;
            if (made.truncated > 0)
              notes.push(`${made.truncated} of ${made.trainExamples} training examples were cut to fit.`);
          },
          onResume: (step) => progressFrom(step).note(`Continuing after step ${step}.`),
          onNote: (text) => progressFrom(0).note(text),
          onStep: ({ step, loss }) => progressFrom(step - 1).update(step, { loss: Number(loss).toFixed(3) }),
          onEvaluate: ({ kind: _, step, ...scores }) => progressFrom(step).note(evaluationLine(step, scores)),
        },
        signal,
      );
      progress?.finish();
      return { run: settings.out, task: task.name, ...result, notes };
    },
    render(result) {
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

function evaluationLine(step: number, scores: Record<string, number | string>): string {
  const shown = Object.entries(scores).map(([name, value]) => `${name} ${Number(value).toFixed(4)}`);
  return `step ${step}: ${shown.length > 0 ? shown.join(', ') : 'no dev examples'}`;
}
