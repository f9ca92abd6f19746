// Everything that a continued run needs to be the same run, bit for bit: weights, optimiser moments, step, and
// position in the data. Random numbers need no state: they are keyed by seed, step and position.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AdamW, noGrad, openSafetensors, writeSafetensors } from '@openplug/torch';
import { z } from 'zod';
import { saveModel } from '../checkpoint/index.js';
import { CheckpointError } from '../errors.js';
import type { PlugModel } from '../model/index.js';

const stateSchema = z.strictObject({ step: z.int().nonnegative(), position: z.json() });

/** What is saved beside the tensors. */
export type SavedState = z.infer<typeof stateSchema>;

/** Fills `folder` with the whole state. */
export function saveTrainingState(folder: string, model: PlugModel, optimizer: AdamW, position: SavedState['position']): void {
  saveModel(folder, model);
  writeSafetensors(join(folder, 'optimizer.safetensors'), optimizer.state());
  writeFileSync(join(folder, 'state.json'), `${JSON.stringify({ step: optimizer.step, position })}\n`);
}

/**
 * Puts a saved state into `model` and `optimizer`. Everything is read before anything is changed.
 * @throws CheckpointError when a file is damaged or belongs to another model
 */
export function restoreTrainingState(folder: string, model: PlugModel, optimizer: AdamW): SavedState {
  const statePath = join(folder, 'state.json');
  let state: SavedState;
  try {
    state = stateSchema.parse(JSON.parse(readFileSync(statePath, 'utf8')));
  } catch (error) {
    throw new CheckpointError(`${statePath} is missing or damaged: ${(error as Error).message}`);
  }
  const modelPath = join(folder, 'model.safetensors');
  using weights = openSafetensors(modelPath);
  using moments = openSafetensors(join(folder, 'optimizer.safetensors'));
  for (const [name, parameter] of model.parameters)
    if (`${weights.info(name).shape}` !== `${parameter.shape}`)
      throw new CheckpointError(`${modelPath}: "${name}" has shape [${weights.info(name).shape}], the model [${parameter.shape}].`);
  for (const [name, parameter] of model.parameters) {
    using stored = weights.tensor(name);
    noGrad(() => parameter.copy_(stored));
  }
  optimizer.restore(state.step, (name) => (moments.has(name) ? moments.tensor(name) : undefined));
  return state;
}
