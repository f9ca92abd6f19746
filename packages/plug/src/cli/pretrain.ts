// `plug pretrain`: one stage of pre-training.
import type { Command } from 'commander';
import { z } from 'zod';
import { printSettings } from '../config/index.js';
import { pretrain, pretrainSchema } from '../pretrain/index.js';
import { defineCommand } from './command.js';
import { checkProfilePath, writeProfile } from './profile.js';
import { createProgress } from './progress.js';

// No setting of the run: it can be given or left out when a run is continued.
const schema = z.strictObject({
  ...pretrainSchema.shape,
  profile: z
    .string()
    .optional()
    .describe(
      'write a Chrome trace of the 11th to 15th step of this process to this file, and the ten most expensive operators to stderr',
    ),
});

export function registerPretrain(program: Command): void {
  defineCommand(program, {
    name: 'pretrain',
    summary: 'train stage 1 (encoder) or stage 2 (encoder-decoder) on a token corpus',
    description:
      'A run is a folder: settings, metrics as JSON lines, checkpoints, and at the end model/. Ctrl-C saves; the same command continues, bit for bit.',
    schema,
    examples: [
      [
        'plug pretrain --stage 1 --corpus runs/poetry --tokenizer runs/vocabulary --size tiny --total-steps 2000 --learning-rate 1e-3 --out runs/stage1',
        'an encoder with masked LM, word order and sentence order',
      ],
      [
        'plug pretrain --stage 2 --init runs/stage1 --corpus runs/poetry --tokenizer runs/vocabulary --size tiny --total-steps 4000 --out runs/stage2',
        'adds a decoder and trains it to continue texts',
      ],
      [
        'plug pretrain --stage 1 --init runs/stage2 --corpus runs/task-texts --tokenizer runs/vocabulary --total-steps 500 --out runs/adapted',
        "lets the encoder go on learning on a task's own text, before fine-tuning",
      ],
    ],
    interruptible: true,
    async run({ settings: given, resolved, signal }) {
      printSettings(schema, resolved);
      const { profile, ...settings } = given;
      checkProfilePath(profile);
      const { totalSteps } = settings;
      let progress = createProgress({ label: `stage ${settings.stage}`, total: totalSteps, unit: 'steps' });
      const result = await pretrain(
        settings,
        {
          onResume(step) {
            progress.finish(`Continuing at step ${step}`);
            progress = createProgress({
              label: `stage ${settings.stage}`,
              total: totalSteps,
              unit: 'steps',
              startAt: step,
            });
          },
          onStep: (line) =>
            progress.update(line.step, {
              loss: Number(line.loss).toFixed(3),
              'tokens/s': Number(line.tokensPerSecond).toFixed(0),
            }),
          onEvaluate: ({ kind: _, step, ...scores }) =>
            progress.note(`  step ${step}, held out: ${JSON.stringify(scores)}`),
          onNote: (text) => progress.note(text),
          ...(profile !== undefined && {
            onProfile: (events) =>
              progress.note(
                events.length > 0
                  ? writeProfile(profile, events)
                  : 'No profile was taken: the process ended before its 11th step.',
              ),
          }),
        },
        signal,
      );
      progress.finish();
      if (!result.finished)
        process.stderr.write(
          `Stopped at step ${result.step} and saved. The same command continues from there.\n`,
        );
      return { run: settings.out, ...result };
    },
    render: ({ finished, step, model, scores }) =>
      finished ? `Finished after ${step} steps: ${model}\n${JSON.stringify(scores)}` : '',
  });
}
