// `plug quickstart`: the main job from poems to a report.
import type { Command } from 'commander';
import { comparisons, quickstart, quickstartSchema, terminalReport } from '../quickstart/index.js';
import { defineCommand } from './command.js';
import { createProgress } from './progress.js';

export function registerQuickstart(program: Command): void {
  defineCommand(program, {
    name: 'quickstart',
    summary: 'train a small PLUG on Tang poems through both stages, fine-tune it, and report',
    description:
      'Reads the chinese-poetry package, trains both stages, fine-tunes one understanding and one generation task, and compares all of it with plain baselines. Ctrl-C saves; the same command continues.',
    schema: quickstartSchema,
    examples: [
      ['plug quickstart', 'ten minutes on two cores'],
      ['plug quickstart --size nano --minutes 0.5 --out runs/smoke', 'the whole pipeline in half a minute'],
    ],
    interruptible: true,
    async run({ settings, signal }) {
      const listener = {
        say: (line: string) => process.stderr.write(`${line}\n`),
        progress: (label: string, total: number, unit: string) => createProgress({ label, total, unit }),
      };
      try {
        const report = await quickstart(settings, listener, signal);
        return { report, comparisons: comparisons(report) };
      } catch (error) {
        if (signal.aborted)
          process.stderr.write(
            `Stopped and saved. Continue with the same command: plug quickstart --out ${settings.out} …\n`,
          );
        throw error;
      }
    },
    render: ({ report }) => terminalReport(report),
  });
}
