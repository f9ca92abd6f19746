// Opens a model in whatever format it lies there: what `plug import` and `plug export` start from.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../errors.js';
import { huggingFaceKind, openBert, openPalm } from './hugging-face/index.js';
import { openModelFolder } from './open-model.js';
import { isPublishedPlug, openPublishedPlug } from './published/index.js';
import type { OpenedModel } from './tensor-source.js';

/**
 * Opens a published PLUG (`model/mp_rank_*`), a BERT or StructBERT, a PALM 2.0 or ChatPLUG (safetensors or
 * `pytorch_model.bin`), or a model folder. What was recognised stands in `kind`.
 * @throws ConfigError when it is none of them, CheckpointError when it is damaged or not whole
 */
export function openAnyModel(folder: string): OpenedModel {
  if (!existsSync(folder)) throw new ConfigError(`${folder}: no such folder.`);
  if (isPublishedPlug(folder)) return openPublishedPlug(folder);
  const kind = huggingFaceKind(folder);
  if (kind === 'palm') return openPalm(folder);
  if (kind === 'bert') return openBert(folder);
  if (existsSync(join(folder, 'config.json'))) return openModelFolder(folder);
  const parent = isPublishedPlug(join(folder, '..'))
    ? ' Its parent folder is a published PLUG: name that one.'
    : '';
  throw new ConfigError(
    `${folder} has no config.json. Known are published PLUG (config.json, vocab.txt, model/mp_rank_*), BERT and PALM as ` +
      `Hugging Face and ModelScope lay them out, and model folders of OpenPLUG.${parent}`,
  );
}
