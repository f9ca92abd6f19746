// How long work takes, from operations, bytes and what is assumed of a machine. Ranks of a mesh are taken to be as good as
// their number: nothing is counted for what they send each other.
import { countParameters, type PlugConfig } from '../model/index.js';
import { type Hardware, peakOf, utilisationOf } from './hardware.js';
import { bytesPerStep } from './inference-memory.js';
import { decodingOperations, encodingOperations, trainingOperations } from './operations.js';
import { type InferenceWork, momentsOf, type TrainingWork } from './work.js';

export interface TrainingTime {
  readonly secondsPerStep: number;
  /** Source and target tokens. */
  readonly tokensPerSecond: number;
}

export function trainingTime(config: PlugConfig, work: TrainingWork, hardware: Hardware): TrainingTime {
  const { data, tensor } = work.mesh;
  const utilisation = utilisationOf[hardware.kind];
  const rate = peakOf(hardware, work.dtype) * utilisation.training;
  const products = trainingOperations(config, work, work) / (rate * data * tensor);
  // The update reads the gradient, and reads and writes the parameter and its moments, float32 each.
  const bytes = ((3 + 2 * momentsOf[work.optimizer]) * 4 * countParameters(config)) / tensor;
  const secondsPerStep = products + bytes / (hardware.bandwidth * utilisation.reading);
  return { secondsPerStep, tokensPerSecond: tokensPerStep(config, work) / secondsPerStep };
}

/** Source and target tokens of a step, over all ranks. */
export function tokensPerStep(
  config: PlugConfig,
  { batch, sourceLength, targetLength }: TrainingWork,
): number {
  return batch * (sourceLength + (config.decHiddenLayers > 0 ? targetLength : 0));
}

export interface InferenceTime {
  /** Of all sources of the batch. */
  readonly encodeSeconds: number;
  /** Tokens written a second, over all rows, after encoding; 0 for an encoder alone. */
  readonly tokensPerSecond: number;
}

export function inferenceTime(config: PlugConfig, work: InferenceWork, hardware: Hardware): InferenceTime {
  const ranks = work.mesh.data * work.mesh.tensor;
  const utilisation = utilisationOf[hardware.kind];
  const rate = peakOf(hardware, work.precision) * utilisation.encoding * ranks;
  const encodeSeconds = encodingOperations(config, work) / rate;
  if (config.decHiddenLayers === 0) return { encodeSeconds, tokensPerSecond: 0 };
  // Either reading the weights or multiplying takes longer.
  const reading = bytesPerStep(config, work) / (hardware.bandwidth * utilisation.reading);
  const step = Math.max(reading, decodingOperations(config, work) / rate);
  return { encodeSeconds, tokensPerSecond: work.batch / step };
}
