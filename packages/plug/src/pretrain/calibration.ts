// What calibration needs to know of a model: the second moments of the inputs of each linear layer, on training text.
import { freemem } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { aten, noGrad, scope, type Tensor, zeros } from '@openplug/torch';
import { gptqBytes, type OpenedModel } from '../checkpoint/index.js';
import { CheckpointError } from '../errors.js';
import {
  indexTensor,
  inference,
  type LinearLayers,
  listParameters,
  type PlugConfig,
  PlugModel,
  storedParameters,
  textBatch,
  trainableLayers,
} from '../model/index.js';
import { firstBatches, stage1Batch, stage2Batch } from './objectives.js';
import type { Stage1Sampler, Stage2Sampler } from './samples/index.js';

/** Text to calibrate on, as both stages of pre-training see it. */
export interface CalibrationTexts {
  /** Sentence pairs with masked tokens, for the encoder and its heads. */
  readonly pairs: Stage1Sampler;
  /** Whole sources and continuations; absent for a model without a decoder. */
  readonly cuts?: Stage2Sampler;
}

export interface CalibrationSettings {
  readonly seed: number;
  /** Tokens (source + target) in a batch at most. */
  readonly tokensPerBatch: number;
  /** Tokens to read in all, half of them of `cuts` if there are any; the last batch of each may go beyond. */
  readonly tokens: number;
  /** Bytes of memory that may be taken. Default: what is free. */
  readonly freeBytes?: number;
}

export interface Hessians extends Disposable {
  /** 2·Σ x·xᵀ over the inputs x of the layer with this weight, float32 [in, in]; all zeros if it had none. */
  readonly byWeight: ReadonlyMap<string, Tensor>;
  /** Tokens that were read. */
  readonly tokens: number;
}

/** What a long reading is given. */
export interface CalibrationOptions {
  /** Called after each batch, with tokens. */
  readonly onProgress?: (readTokens: number, totalTokens: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Runs the model, not quantised, over the text. All Hessians are kept at once: 4·in² bytes for each linear layer
 * (67 MB for 4,096 inputs), beside the model in float32.
 * @throws CheckpointError when that does not fit in memory, the signal's reason when it is aborted
 */
export async function collectHessians(
  model: OpenedModel,
  texts: CalibrationTexts,
  settings: CalibrationSettings,
  { signal, onProgress }: CalibrationOptions = {},
): Promise<Hessians> {
  checkMemory(model, settings.freeBytes ?? freemem());
  const byWeight = new Map<string, Tensor>();
  const dispose = (): void => {
    for (const hessian of byWeight.values()) hessian.dispose();
  };
  try {
    const source = storedParameters(model.weights, model.weights.path);
    using running = new PlugModel(model.config, source, recordingLayers(byWeight));
    const share = texts.cuts ? settings.tokens / 2 : settings.tokens;
    let tokens = 0;
    for (const [number, run] of runsOf(running, texts, settings).entries())
      for (const batch of run) {
        signal?.throwIfAborted();
        noGrad(() => scope(batch.run));
        tokens += batch.tokens;
        onProgress?.(Math.min(tokens, settings.tokens), settings.tokens);
        await setImmediate(); // lets Ctrl-C and the progress bar in
        if (tokens >= share * (number + 1)) break;
      }
    signal?.throwIfAborted();
    return { byWeight, tokens, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

interface CalibrationBatch {
  readonly tokens: number;
  run(): void;
}

function runsOf(
  model: PlugModel,
  { pairs, cuts }: CalibrationTexts,
  settings: CalibrationSettings,
): Iterable<CalibrationBatch>[] {
  const batching = { ...settings, evaluationBatches: Number.POSITIVE_INFINITY };
  function* masked(): Generator<CalibrationBatch> {
    for (const { source, labelIndex } of firstBatches(pairs, batching, stage1Batch))
      yield {
        tokens: countTokens(source.lengths),
        run() {
          const read = textBatch(source);
          const encoded = model.encode(read, inference);
          model.sentenceLogits(encoded, read.layout);
          if (labelIndex.length > 0)
            model.mlmLogits(encoded.indexSelect(0, indexTensor(labelIndex)), inference);
        },
      };
  }
  function* continued(sampler: Stage2Sampler): Generator<CalibrationBatch> {
    const whole = (from: Stage2Sampler, indices: number[]) => stage2Batch(from, indices, false);
    for (const { source, target } of firstBatches(sampler, batching, whole))
      yield {
        tokens: countTokens(source.lengths) + countTokens(target.lengths),
        run() {
          const read = textBatch(source);
          model.decode(textBatch(target), model.encode(read, inference), read.layout, inference);
        },
      };
  }
  return cuts ? [masked(), continued(cuts)] : [masked()];
}

/** Layers that add what they are given to the Hessian of their weight. */
function recordingLayers(byWeight: Map<string, Tensor>): LinearLayers {
  return {
    ...trainableLayers,
    linear(scope, inputSize, outputSize, std) {
      const layer = trainableLayers.linear(scope, inputSize, outputSize, std);
      const hessian = zeros([inputSize, inputSize]);
      byWeight.set(scope.nameOf('weight'), hessian);
      return {
        forward(x, activation) {
          const inputs = x.to('float32');
          aten.addmm_(hessian, inputs.transpose(0, 1), inputs, 1, 2);
          return layer.forward(x, activation);
        },
      };
    },
  };
}

/** The Hessians stay while weights are rounded one by one; the model is gone by then. */
function checkMemory({ config, weights }: OpenedModel, freeBytes: number): void {
  const { hessians, model, rounding } = memoryBytes(config);
  const bytes = hessians + Math.max(model, rounding);
  if (bytes > freeBytes)
    throw new CheckpointError(
      `Calibrating ${weights.path} takes ${gigabytes(bytes)} of memory (${gigabytes(hessians)} of them for what is ` +
        `seen of the layers' inputs), but ${gigabytes(freeBytes)} are free. Quantise without calibration, which takes ` +
        'one weight at a time.',
    );
}

function memoryBytes(config: PlugConfig): { hessians: number; model: number; rounding: number } {
  const bytes = { hessians: 0, model: 0, rounding: 0 };
  for (const { shape, role } of listParameters(config)) {
    bytes.model += 4 * shape.reduce((product, size) => product * size, 1);
    if (role !== 'linear') continue;
    bytes.hessians += 4 * shape[1]! ** 2;
    bytes.rounding = Math.max(bytes.rounding, gptqBytes(shape));
  }
  return bytes;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toPrecision(3)} GB`;
}

function countTokens(lengths: Int32Array): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}
