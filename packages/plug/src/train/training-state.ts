// Everything that a continued run needs to be the same run, bit for bit: weights, optimiser moments, step, and
// position in the data. Random numbers need no state: they are keyed by seed, step and position.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AdamW,
  noGrad,
  openSafetensors,
  type SafetensorsFile,
  type Tensor,
  writeSafetensors,
} from '@openplug/torch';
import { z } from 'zod';
import { CheckpointError } from '../errors.js';
import { averageFile, type WeightAverage } from './weight-average.js';

const optimizerFile = 'optimizer.safetensors';

const stateSchema = z.strictObject({ step: z.int().nonnegative(), position: z.json() });

/** What is saved beside the tensors. */
export type SavedState = z.infer<typeof stateSchema>;

/** What is trained: a model, or a model with a head of its own. */
export interface Trainable {
  /** By name; those with `requiresGrad` are what the optimiser changes. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Writes every trained parameter into the folder under its name, in one or several `.safetensors` files. */
  save(folder: string): void;
}

/** What the optimiser changes. */
export function trainedParameters({ parameters }: Trainable): ReadonlyMap<string, Tensor> {
  return new Map([...parameters].filter(([, parameter]) => parameter.requiresGrad));
}

/** Fills `folder` with the whole state. */
export function saveTrainingState(
  folder: string,
  model: Trainable,
  optimizer: AdamW,
  position: SavedState['position'],
  average?: WeightAverage,
): void {
  model.save(folder);
  average?.save(folder);
  writeSafetensors(join(folder, optimizerFile), optimizer.state());
  writeFileSync(join(folder, 'state.json'), `${JSON.stringify({ step: optimizer.step, position })}\n`);
}

/**
 * Puts a saved state into `model` and `optimizer`. Everything is checked before anything is changed.
 * @throws CheckpointError when a file is damaged or belongs to another model
 */
export function restoreTrainingState(
  folder: string,
  model: Trainable,
  optimizer: AdamW,
  average?: WeightAverage,
): SavedState {
  const statePath = join(folder, 'state.json');
  let state: SavedState;
  try {
    state = stateSchema.parse(JSON.parse(readFileSync(statePath, 'utf8')));
  } catch (error) {
    throw new CheckpointError(`${statePath} is missing or damaged: ${(error as Error).message}`);
  }
  const files: SafetensorsFile[] = [];
  try {
    for (const name of readdirSync(folder))
      if (name.endsWith('.safetensors') && name !== optimizerFile && name !== averageFile)
        files.push(openSafetensors(join(folder, name)));
    using moments = openSafetensors(join(folder, optimizerFile));
    const found = new Map<string, SafetensorsFile>();
    const trained = trainedParameters(model);
    for (const [name, parameter] of trained) {
      const file = files.find((candidate) => candidate.has(name));
      if (!file) throw new CheckpointError(`${folder}: no file holds the parameter "${name}".`);
      const { shape } = file.info(name);
      if (`${shape}` !== `${parameter.shape}`)
        throw new CheckpointError(
          `${file.path}: "${name}" has shape [${shape}], the model [${parameter.shape}].`,
        );
      found.set(name, file);
    }
    average?.restore(folder);
    // First, as it refuses a state that does not fit; the weights are known to fit.
    optimizer.restore(state.step, (name) => (moments.has(name) ? moments.tensor(name) : undefined));
    for (const [name, parameter] of trained) {
      using stored = found.get(name)!.tensor(name);
      noGrad(() => parameter.copy_(stored));
    }
  } finally {
    for (const file of files) file.close();
  }
  return state;
}
