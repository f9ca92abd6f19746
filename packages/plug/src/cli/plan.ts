// `plug plan`: what a size takes before anything starts: parameters, memory, operations, time, disk, and the mesh.
import type { Command } from 'commander';
import { z } from 'zod';
import { readModelConfig, resolveModelFolder } from '../checkpoint/index.js';
import { type Ladder, makePlan, type Plan, type PlannedModel, planFields } from '../plan/index.js';
import { defineCommand } from './command.js';
import { EXIT } from './output.js';
import { measureHardware } from './plan-measure.js';
import { renderLadder, renderPlan } from './plan-tables.js';

const schema = z.strictObject({
  ...planFields,
  measure: z.boolean().default(false).describe('measure this machine too (a second), and reckon with it'),
});

export function registerPlan(program: Command): void {
  defineCommand<typeof schema, Plan | Ladder>(program, {
    name: 'plan',
    summary: 'say what a size takes: parameters, memory, operations, time, disk, mesh',
    description:
      'Without a size and a folder: a table of all sizes. Nothing is loaded or started. Training and writing on a mesh or a GPU are reckoned, but not there yet.',
    words: [{ name: '[folder]', description: 'model folder, or the folder of a run, in place of --size' }],
    schema,
    examples: [
      ['plug plan', 'all sizes in one table'],
      ['plug plan --size base --batch 16 --recompute --measure', 'training on this machine'],
      [
        'plug plan --size 27b --job inference --dtype int4 --hardware cpu-2',
        'whether 27B writes on two cores',
      ],
    ],
    run: ({ settings: { measure, ...settings }, words }) =>
      makePlan(settings, {
        given: words[0] === undefined ? undefined : modelIn(words[0]),
        measured: measure ? measureHardware() : undefined,
      }),
    render: (result) => ('rows' in result ? renderLadder(result) : renderPlan(result)),
    exitStatus: (result) =>
      'hardware' in result && result.hardware.length === 1 && !result.hardware[0]!.fits
        ? EXIT.failure
        : EXIT.ok,
  });
}

function modelIn(path: string): PlannedModel {
  const folder = resolveModelFolder(path);
  return { title: folder, config: readModelConfig(folder) };
}
