// The measured side of the `plan` benchmark: a process that warms up on a tiny model, notes how much memory the
// libraries take, and then trains the model that was planned.
import { readFileSync } from 'node:fs';
import { AdamW, scope, setNumThreads } from '@openplug/torch';
import { answer } from '../harness/side.js';
import { decaysWeight, newParameters, PlugModel } from '../openplug.js';
import { shapes, trainingBatch } from '../shapes.js';
import type { TrainCase } from '../train/case.js';
import { trainStep } from '../train/step.js';
import type { PlanCase } from './case.js';

const given = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as PlanCase;
const warmUpSteps = 2;
const measuredSteps = 3;

/** A field of `/proc/self/status`, in bytes. */
function processBytes(field: 'VmRSS' | 'VmHWM'): number {
  const text = readFileSync('/proc/self/status', 'utf8');
  return 1024 * Number(new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(text)?.[1]);
}

function train(
  shape: Pick<PlanCase, 'config' | 'batch' | 'sourceLength' | 'targetLength'>,
  steps: number,
): void {
  const sizes = { promptLength: 0, newTokens: 0, stepsPerTurn: 1 };
  const step: TrainCase = {
    precision: given.dtype,
    learningRate: 1e-4,
    weightDecay: 0.01,
    clipGradNorm: 1,
    batch: trainingBatch({ ...shape, ...sizes }, 1),
    recomputeLayers: given.recompute,
  };
  using model = new PlugModel(shape.config, newParameters(1));
  const optimizer = new AdamW(model.parameters, { decays: decaysWeight });
  for (let count = 0; count < steps; count++) trainStep(model, optimizer, step, count);
  for (const moment of optimizer.state().values()) moment.dispose();
}

setNumThreads(given.threads);
await answer({
  /** Peak bytes of the whole process, and those that it held before the model was there. */
  train() {
    scope(() => train(shapes.trial, warmUpSteps));
    const baselineBytes = processBytes('VmRSS');
    train(given, measuredSteps);
    return { baselineBytes, peakBytes: processBytes('VmHWM') };
  },
});
