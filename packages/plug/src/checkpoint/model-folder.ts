// A model on disk: a folder with `config.json`, weights (weight-files.ts) and, beside them, the tokenizer's files.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { aten, type DType, keep, type nn, scope, writeSafetensors } from '@openplug/torch';
import writeFileAtomic from 'write-file-atomic'; // chosen: temporary file, fsync and rename in one call
import { CheckpointError, ConfigError } from '../errors.js';
import {
  adapterPrefix,
  choosingParameters,
  type LinearLayers,
  type ParameterSource,
  type PlugConfig,
  PlugModel,
  packedLayers,
  parsePlugConfig,
  plugConfig,
  plugConfigToJson,
  promptParameter,
  storedLayers,
  storedParameters,
  trainableLayers,
} from '../model/index.js';
import { hasAdapter, openMergedWeights, saveAdapter } from './adapter.js';
import { bytesToLoad } from './load-memory.js';
import type { TensorSource } from './tensor-source.js';
import { indexFile, weightsFile } from './weight-files.js';
import { parseQuantization, type StoredPrecision, tiedName } from './weight-format.js';

const embeddingName = 'bert.embeddings.word_embeddings.weight';

/** What `loadModel` may change. */
export interface LoadOptions {
  /** Dtype of the parameters in memory. Default float32. */
  dtype?: DType;
  /**
   * For inference: packs plain weights in this precision, or uses packed ones where they are stored, which must be in
   * it (see `readStoredPrecision`). Default: the model can be trained and saved.
   */
  precision?: nn.Precision | undefined;
  /** Changes to the stored configuration, for example dropout for fine-tuning. */
  changes?: Partial<PlugConfig>;
  /** Leaves out a decoder that is there. Default false. */
  encoderOnly?: boolean;
  /** How linear layers are made, in place of what `precision` says: for training a part of the model. */
  layers?: LinearLayers;
  /** Where adapters come from that `layers` have, and prompt vectors that `changes` ask for. */
  adapters?: ParameterSource;
}

/** Reads and checks `config.json` of a model folder. @throws ConfigError */
export function readModelConfig(folder: string): PlugConfig {
  const { path, json } = readConfigFile(folder);
  return parsePlugConfig(json, path);
}

/** The precision in which a folder's weights are packed; undefined when they are plain. @throws ConfigError */
export function readStoredPrecision(folder: string): StoredPrecision | undefined {
  const { path, json } = readConfigFile(folder);
  return parseQuantization(json, path);
}

function readConfigFile(folder: string): { path: string; json: object } {
  const path = join(folder, 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(
      `${path} cannot be read (${(error as Error).message}). A model folder has config.json and ${weightsFile}.`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${path} is not valid JSON: ${(error as Error).message}`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new ConfigError(`${path}: expected a JSON object with the model's configuration.`);
  return { path, json };
}

/**
 * Loads a model folder. Strict: every parameter must be there in its shape, and nothing else.
 * @throws CheckpointError naming the tensor that is missing, misshapen or unknown, or when memory is too small
 * @throws ConfigError when `config.json` or `changes` make no configuration, or the precision is not the stored one
 */
export function loadModel(folder: string, options: LoadOptions = {}): PlugModel {
  const { dtype = 'float32', precision, encoderOnly = false, changes } = options;
  const decoderLess = encoderOnly ? { decHiddenLayers: 0 } : {};
  const config = plugConfig(
    { ...readModelConfig(folder), ...decoderLess, ...changes },
    `changes to ${folder}`,
  );
  const stored = readStoredPrecision(folder);
  const layers = options.layers && !stored ? options.layers : layersFor(folder, stored, precision);
  using weights = openMergedWeights(folder, config);
  const { path } = weights;
  const leftOut = (name: string): boolean => encoderOnly && name.startsWith('decoder.');
  if (!stored) {
    // Adapters that the folder has are merged into copies.
    const held = hasAdapter(folder) ? trainableLayers : layers;
    checkMemory(bytesToLoad(weights, dtype, held, leftOut), path, dtype);
  }
  // The scope frees what was already read when the file turns out not to fit.
  return scope(() => {
    const source = storedParameters(weights, path, dtype);
    const { adapters } = options;
    const isNew = weights.has(promptParameter) ? [adapterPrefix] : [adapterPrefix, promptParameter];
    const parameters = adapters ? choosingParameters(isNew, adapters, source) : source;
    const model = new PlugModel(config, parameters, layers);
    if (!stored) checkTied(weights, path);
    const extra = weights
      .names()
      .filter((name) => !source.used.has(name) && name !== tiedName && !leftOut(name));
    if (extra.length > 0)
      throw new CheckpointError(
        `${path}: ${extra.length} tensors belong to no part of the configured model, the first is "${extra[0]}". ` +
          'Do num_hidden_layers, dec_hidden_layers and pre_ln in config.json describe this file?',
      );
    for (const held of model.tensors()) keep(held);
    return model;
  });
}

function layersFor(
  folder: string,
  stored: StoredPrecision | undefined,
  asked: LoadOptions['precision'],
): LinearLayers {
  if (!stored) return asked ? packedLayers(asked) : trainableLayers;
  if (asked === stored) return storedLayers(stored);
  throw new ConfigError(
    `The weights in ${folder} are packed for inference in ${stored}; they cannot be ` +
      `${asked ? `computed with in ${asked}` : 'trained or saved'}. ` +
      'Use the model that they were made from.',
  );
}

function checkMemory(bytes: number, path: string, dtype: DType): void {
  if (bytes > freemem())
    throw new CheckpointError(
      `${path} takes ${(bytes / 1e9).toFixed(1)} GB in memory as ${dtype}, ` +
        `but ${(freemem() / 1e9).toFixed(1)} GB are free. \`plug quantize\` makes a folder that is used where it is on disk.`,
    );
}

/** The output embedding is the word embedding; a file that also stores it must store the same numbers. */
function checkTied(weights: TensorSource, path: string): void {
  if (!weights.has(tiedName)) return;
  const equal = scope(() => aten.equal(weights.tensor(tiedName), weights.tensor(embeddingName)));
  if (!equal)
    throw new CheckpointError(
      `${path}: "${tiedName}" differs from "${embeddingName}", but the two are one tied parameter.`,
    );
}

/**
 * Writes `config.json` and `model.safetensors` into `folder`; each file appears whole or not at all. Of a model that is
 * adapted, only the adapters are written (adapter.ts).
 * @throws CheckpointError for a model that was packed for inference, or when the folder cannot be written
 */
export function saveModel(folder: string, model: PlugModel): void {
  if (model.precision)
    throw new CheckpointError(
      `This model's weights are packed for inference (${model.precision}) and cannot be saved to ${folder}. ` +
        'Load it without a precision to save it.',
    );
  mkdirSync(folder, { recursive: true });
  if (model.lora) saveAdapter(folder, model.lora, model.parameters);
  else {
    writeSafetensors(join(folder, weightsFile), model.parameters, { format: 'pt', openplug_version: '1' });
    rmSync(join(folder, indexFile), { force: true }); // of what was there before
  }
  writeFileAtomic.sync(
    join(folder, 'config.json'),
    `${JSON.stringify(plugConfigToJson(model.config), null, 2)}\n`,
  );
}
