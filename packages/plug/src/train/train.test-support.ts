// A network of two layers that takes a millisecond a step: the loop, its files and its faults are tested on it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setNumThreads, type Tensor, tensor, writeSafetensors } from '@openplug/torch';
import { keyedRandom } from '../random.js';
import type { StepLosses, Trainable, TrainerSettings, TrainingObjective } from './index.js';

setNumThreads(1);

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'plug-train-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const [numInputs, numHidden] = [6, 160]; // weights of more than one page of a disk

function numbers(count: number, ...keys: number[]): number[] {
  const random = keyedRandom(...keys);
  return Array.from({ length: count }, () => random.uniform() - 0.5);
}

/** Its weights are the same each time it is made. */
export function toyModel(): Trainable & Disposable {
  const make = (shape: number[], key: number): Tensor =>
    tensor(
      numbers(
        shape.reduce((a, b) => a * b),
        key,
      ),
      { shape, dtype: 'float32', requiresGrad: true },
    );
  const parameters = new Map([
    ['first.weight', make([numInputs, numHidden], 1)],
    ['second.weight', make([numHidden, 1], 2)],
  ]);
  return {
    parameters,
    save: (folder) => writeSafetensors(join(folder, 'model.safetensors'), parameters),
    [Symbol.dispose]() {
      for (const parameter of parameters.values()) parameter.dispose();
    },
  };
}

/** Row `position` of the data has inputs keyed by it; noise keyed by the dropout seed is added, as dropout would. */
export function toyObjective(model: Trainable, rows = 4): TrainingObjective & { taken: number[] } {
  let position = 0;
  const taken: number[] = [];
  const losses = (start: number, noiseKey: number): StepLosses => {
    const inputs = tensor(numbers(rows * numInputs, 3, start), { shape: [rows, numInputs] });
    const noise = tensor(numbers(rows * numInputs, 4, noiseKey), { shape: [rows, numInputs] });
    const hidden = inputs.add(noise.mul(0.1)).matmul(model.parameters.get('first.weight')!).tanh();
    const wanted = inputs.sum([1], true);
    const loss = hidden.matmul(model.parameters.get('second.weight')!).sub(wanted).pow(2).mean();
    return { loss, parts: { squares: loss }, numTokens: rows };
  };
  return {
    taken,
    nextLosses(_, options) {
      taken.push(position);
      return losses(position++, options.dropoutSeed ?? 0);
    },
    position: () => ({ next: position }),
    seek(saved) {
      position = (saved as { next: number }).next;
    },
    evaluate: () => ({ tenth: position / 10 }),
  };
}

export const toySettings: TrainerSettings = {
  totalSteps: 12,
  learningRate: 0.05,
  warmupFraction: 0.25,
  weightDecay: 0.01,
  beta2: 0.999,
  clipGradNorm: 1,
  accumulationSteps: 2,
  computeDType: 'float32',
  seed: 1,
  recomputeLayers: false,
  evaluateEvery: 0,
  saveEvery: 4,
  keepLast: 2,
};

/** The numbers of all parameters, by name. */
export function weightsOf(model: Trainable): Record<string, number[]> {
  return Object.fromEntries([...model.parameters].map(([name, parameter]) => [name, parameter.toArray()]));
}
