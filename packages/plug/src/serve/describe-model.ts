// What a model can do and what memory its process will take, from the files of its folder and before it is loaded.
import { readModelConfig, readStoredPrecision, resolveModelFolder } from '../checkpoint/index.js';
import { readTaskFile } from '../finetune/index.js';
import { fittingRows } from '../generate/index.js';
import { inferenceIn, SlotCache } from '../model/index.js';
import { inferenceMemory } from '../plan/index.js';
import type { HostedModelInfo, HostStart } from './messages.js';

export interface ModelDescription {
  readonly info: HostedModelInfo;
  /** Weights as they will be held, all places for texts in use, and a batch of sources. */
  readonly bytes: number;
}

/** Source tokens that are encoded together when texts are embedded. */
const encodedTokens = 4096;

/**
 * @throws ConfigError when the folder holds no model
 * @throws CheckpointError when a file of it is damaged
 */
export function describeModel(start: HostStart): ModelDescription {
  const folder = resolveModelFolder(start.folder);
  const config = readModelConfig(folder);
  const task = readTaskFile(folder)?.task;
  const classifying = task?.kind === 'classification' ? task : undefined;
  const stored = readStoredPrecision(folder) ?? 'float32';
  // Classifiers are used as they were trained, or as they are stored.
  const precision = classifying || start.precision === 'auto' ? stored : start.precision;
  // What a task has changed no longer writes, even if it still has a decoder.
  const canWrite = config.decHiddenLayers > 0 && !classifying;
  const slotBytes = canWrite ? SlotCache.bytesPerSlot(config, inferenceIn(precision)) : 0;
  const { maxRows, numSlots } = canWrite ? fittingRows(slotBytes, start) : { maxRows: 0, numSlots: 0 };
  const { total, keysValues, logits } = inferenceMemory(config, {
    precision,
    mesh: { data: 1, tensor: 1 },
    batch: 1,
    sourceLength: encodedTokens,
    targetLength: 0,
  });
  return {
    info: {
      positions: config.maxPositionEmbeddings,
      hiddenSize: config.hiddenSize,
      precision,
      canWrite,
      maxRows,
      ...(classifying && {
        labels: classifying.labels,
        takesPairs: classifying.columns.textPair !== undefined,
      }),
    },
    bytes: Math.ceil(total - keysValues - logits + numSlots * (slotBytes + logits)),
  };
}
