// Models that are read parameter by parameter: a model folder, and one with new weights.
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CheckpointError, ConfigError } from '../errors.js';
import { listParameters, newParameters, type PlugConfig } from '../model/index.js';
import { openMergedWeights } from './adapter.js';
import { readModelConfig, readStoredPrecision } from './model-folder.js';
import type { OpenedModel } from './tensor-source.js';

const tokenizerFiles = ['vocab.txt', 'tokenizer_config.json'];

/** What belongs to a model beside its parameters; a checkpoint's folder also holds what only training needs. */
const companions = [...tokenizerFiles, 'task.json', 'classifier.safetensors'];

/** The paths among `files` that are a tokenizer's. */
export function tokenizerFilesAmong(files: readonly string[]): string[] {
  return files.filter((path) => tokenizerFiles.includes(basename(path)));
}

/** Those of them that a folder has. */
export function companionsIn(folder: string): string[] {
  return companions.map((name) => join(folder, name)).filter((path) => existsSync(path));
}

/**
 * Opens a folder of plain weights, to be converted.
 * @throws CheckpointError or ConfigError when it is none, or its weights are packed, which cannot be undone
 */
export function openModelFolder(folder: string): OpenedModel {
  const config = readModelConfig(folder);
  const precision = readStoredPrecision(folder);
  if (precision)
    throw new ConfigError(
      `The weights in ${folder} are packed in ${precision} already and have lost what they were rounded from. ` +
        'Convert the model that they were made from.',
    );
  const weights = openMergedWeights(folder, config);
  return {
    kind: 'model folder',
    config,
    weights,
    filesBeside: companionsIn(folder),
    notes: [],
    [Symbol.dispose]: () => weights[Symbol.dispose](),
  };
}

/**
 * A model with new weights, which are drawn when they are read.
 * @param vocabulary paths of the tokenizer's files
 */
export function newModel(config: PlugConfig, seed: number, vocabulary: readonly string[] = []): OpenedModel {
  const parameters = new Map(listParameters(config).map((parameter) => [parameter.name, parameter]));
  const drawn = newParameters(seed);
  const path = `new weights of seed ${seed}`;
  const find = (name: string) => {
    const parameter = parameters.get(name);
    if (!parameter) throw new CheckpointError(`${path}: this configuration has no tensor "${name}".`);
    return parameter;
  };
  return {
    kind: 'new model',
    config,
    weights: {
      path,
      names: () => [...parameters.keys()],
      has: (name) => parameters.has(name),
      info: (name) => ({ dtype: 'float32', shape: find(name).shape }),
      tensor(name) {
        const { shape, initializer } = find(name);
        return drawn.get(name, shape, initializer);
      },
      [Symbol.dispose]() {},
    },
    filesBeside: vocabulary,
    notes: [],
    [Symbol.dispose]() {},
  };
}
