// A model on disk: a folder with `config.json`, `model.safetensors` and, beside them, the tokenizer's files.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  aten,
  type DType,
  keep,
  type nn,
  openSafetensors,
  scope,
  type Tensor,
  writeSafetensors,
} from '@openplug/torch';
import writeFileAtomic from 'write-file-atomic'; // chosen: temporary file, fsync and rename in one call
import { CheckpointError, ConfigError } from '../errors.js';
import {
  type PlugConfig,
  PlugModel,
  parsePlugConfig,
  plugConfig,
  plugConfigToJson,
  storedParameters,
} from '../model/index.js';

const tiedName = 'cls.predictions.decoder_weight';
const embeddingName = 'bert.embeddings.word_embeddings.weight';

/** What `loadModel` may change. */
export interface LoadOptions {
  /** Dtype of the parameters in memory. Default float32. */
  dtype?: DType;
  /** Packs the weights for inference in this precision. Default: the model can be trained and saved. */
  precision?: nn.Precision | undefined;
  /** Changes to the stored configuration, for example dropout for fine-tuning. */
  changes?: Partial<PlugConfig>;
}

/** Reads and checks `config.json` of a model folder. @throws ConfigError */
export function readModelConfig(folder: string): PlugConfig {
  const path = join(folder, 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(
      `${path} cannot be read (${(error as Error).message}). A model folder has config.json and model.safetensors.`,
    );
  }
  try {
    return parsePlugConfig(JSON.parse(text), path);
  } catch (error) {
    if (error instanceof SyntaxError) throw new ConfigError(`${path} is not valid JSON: ${error.message}`);
    throw error;
  }
}

/**
 * Loads a model folder. Strict: every parameter must be there in its shape, and nothing else.
 * @throws CheckpointError naming the tensor that is missing, misshapen or unknown
 * @throws ConfigError when `config.json` or `changes` make no configuration
 */
export function loadModel(folder: string, options: LoadOptions = {}): PlugModel {
  const stored = readModelConfig(folder);
  const config = plugConfig({ ...stored, ...options.changes }, `changes to ${folder}`);
  const path = join(folder, 'model.safetensors');
  const file = openSafetensors(path);
  try {
    // The scope frees what was already read when the file turns out not to fit.
    return scope(() => {
      const source = storedParameters(file, path, options.dtype);
      const model = new PlugModel(config, source, options.precision);
      checkTied(file, path);
      const extra = file.names().filter((name) => !source.used.has(name) && name !== tiedName);
      if (extra.length > 0)
        throw new CheckpointError(
          `${path}: ${extra.length} tensors belong to no part of the configured model, the first is "${extra[0]}". ` +
            'Do num_hidden_layers, dec_hidden_layers and pre_ln in config.json describe this file?',
        );
      for (const held of model.tensors()) keep(held);
      return model;
    });
  } finally {
    file.close();
  }
}

/** The output embedding is the word embedding; a file that also stores it must store the same numbers. */
function checkTied(file: { has(name: string): boolean; tensor(name: string): Tensor }, path: string): void {
  if (!file.has(tiedName)) return;
  const equal = scope(() => aten.equal(file.tensor(tiedName), file.tensor(embeddingName)));
  if (!equal)
    throw new CheckpointError(
      `${path}: "${tiedName}" differs from "${embeddingName}", but the two are one tied parameter.`,
    );
}

/**
 * Writes `config.json` and `model.safetensors` into `folder`; each file appears whole or not at all.
 * @throws CheckpointError for a model that was packed for inference, or when the folder cannot be written
 */
export function saveModel(folder: string, model: PlugModel): void {
  if (model.precision)
    throw new CheckpointError(
      `This model's weights are packed for inference (${model.precision}) and cannot be saved to ${folder}. ` +
        'Load it without a precision to save it.',
    );
  mkdirSync(folder, { recursive: true });
  writeSafetensors(join(folder, 'model.safetensors'), model.parameters, { format: 'openplug', version: '1' });
  writeFileAtomic.sync(
    join(folder, 'config.json'),
    `${JSON.stringify(plugConfigToJson(model.config), null, 2)}\n`,
  );
}
