// Finds the model that a path given on the command line means: a model folder, or a run that has made one.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../errors.js';

/**
 * The model folder (one with `config.json`) for a path: the path itself; else, in a run's folder, `model`,
 * `stage2/model`, `finetune/model` or `finetune/NAME/model`, in this order, of several NAMEs the newest; else the
 * newest checkpoint of a run that has not finished, `checkpoints/step-N` or `stage2/checkpoints/step-N`.
 * @throws ConfigError listing what was looked for
 */
export function resolveModelFolder(path: string): string {
  if (!existsSync(path))
    throw new ConfigError(`${path}: no such folder. Give a model folder or a run folder.`);
  const places = [
    '.',
    'model',
    join('stage2', 'model'),
    join('finetune', 'model'),
    ...newest(path, 'finetune').map((name) => join('finetune', name, 'model')),
    ...lastSteps(path, 'checkpoints'),
    ...lastSteps(path, join('stage2', 'checkpoints')),
  ].map((place) => join(path, place));
  const found = places.find((place) => existsSync(join(place, 'config.json')));
  if (found !== undefined) return found;
  const looked = places.map((place) => join(place, 'config.json')).join(', ');
  throw new ConfigError(
    `${path} holds no model: looked for ${looked}. Has the run finished? A model folder has config.json, model.safetensors and vocab.txt.`,
  );
}

/** Folders under `path/part`, the one changed last first. */
function newest(path: string, part: string): string[] {
  const changed = (name: string): number => statSync(join(path, part, name)).mtimeMs;
  return foldersIn(join(path, part)).sort((a, b) => changed(b) - changed(a) || (a < b ? -1 : 1));
}

/** The last checkpoint under `path/part`, or the pattern of its name when there is none. */
function lastSteps(path: string, part: string): string[] {
  const steps = foldersIn(join(path, part)).filter((name) => /^step-\d+$/.test(name));
  const number = (name: string): number => Number(name.slice('step-'.length));
  const last = steps.sort((a, b) => number(b) - number(a))[0];
  return [join(part, last ?? 'step-N')];
}

function foldersIn(path: string): string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}
