// What a model folder holds, from its configuration and the headers of its files: nothing is loaded.
import { countParameters, type PlugConfig } from '../model/index.js';
import { adapterWeightsFile, hasAdapter, openMergedWeights } from './adapter.js';
import { readModelConfig, readStoredPrecision } from './model-folder.js';
import { weightFiles } from './weight-files.js';
import { bytesOf, type StoredPrecision } from './weight-format.js';

export interface StoredTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

export interface Inspection {
  folder: string;
  config: PlugConfig;
  /** How the weights are packed; absent when they are plain. */
  precision?: StoredPrecision;
  parameters: number;
  /** Those of this folder; adapters are listed merged into the tensors of their base, which has files of its own. */
  files: readonly string[];
  tensors: StoredTensor[];
  /** Bytes by dtype. */
  totals: Record<string, number>;
  bytes: number;
}

/** @throws ConfigError or CheckpointError when the folder holds no model, or a file of it is damaged */
export function inspectFolder(folder: string): Inspection {
  const config = readModelConfig(folder);
  const precision = readStoredPrecision(folder);
  using weights = openMergedWeights(folder, config);
  const tensors = weights.names().map((name): StoredTensor => {
    const info = weights.info(name);
    return { name, dtype: info.dtype, shape: info.shape, bytes: bytesOf(info) };
  });
  const totals: Record<string, number> = {};
  for (const { dtype, bytes } of tensors) totals[dtype] = (totals[dtype] ?? 0) + bytes;
  return {
    folder,
    config,
    ...(precision ? { precision } : {}),
    parameters: countParameters(config),
    files: hasAdapter(folder) ? [adapterWeightsFile] : weightFiles(folder),
    tensors,
    totals,
    bytes: tensors.reduce((sum, tensor) => sum + tensor.bytes, 0),
  };
}
