// Adapters merged into a model of their own, for which no model is built: it would stand in memory beside whatever the
// process still holds of training, of which adapters are to save most.
import { openModelFolder } from './open-model.js';
import { type WriteOptions, type WrittenModel, writeModelFolder } from './write-folder.js';

/**
 * Writes the model that `folder` adapts, with its adapters merged and the files of its task, to the new folder `out`.
 * One parameter is in memory at a time. The weights are float32, in which adapters are trained.
 * @throws CheckpointError or ConfigError when the adapters or their base do not fit or cannot be read, or `out` cannot
 *   be written; nothing is then left behind
 */
export async function mergeAdapter(
  folder: string,
  out: string,
  options: WriteOptions = {},
): Promise<WrittenModel> {
  using adapted = openModelFolder(folder);
  return await writeModelFolder(out, adapted, { dtype: 'float32' }, options);
}
