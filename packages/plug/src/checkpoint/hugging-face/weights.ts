// The weights of a folder in any of the forms in which Hugging Face keeps them.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError } from '../../errors.js';
import { openTorchCheckpoint } from '../pickle/index.js';
import type { TensorSource } from '../tensor-source.js';
import { indexFile, openWeights, weightsFile } from '../weight-files.js';

const torchFile = 'pytorch_model.bin';

/**
 * Safetensors, in one file or several with an index, before `pytorch_model.bin`.
 * @throws CheckpointError when the folder has no weights, or they cannot be read
 */
export function openHuggingFaceWeights(folder: string): TensorSource {
  if ([weightsFile, indexFile].some((name) => existsSync(join(folder, name)))) return openWeights(folder);
  const path = join(folder, torchFile);
  if (existsSync(path)) return openTorchCheckpoint(path);
  throw new CheckpointError(
    `${folder} has no weights: looked for ${weightsFile}, ${indexFile} and ${torchFile}.`,
  );
}
