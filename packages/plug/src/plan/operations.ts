// Floating-point operations (a multiplication and an addition are two) of matrix products and attention.
import { decoderConfig, type PlugConfig } from '../model/index.js';
import { type Batch, maskedFraction } from './work.js';

/** Multiply-adds by part, for whole batches. */
interface Parts {
  readonly layers: number;
  readonly heads: number;
}

/**
 * Operations that one training step needs: forward and twice that backward, causal attention counted half, the masked-LM
 * head at its labels only. Recomputing layers adds their forward pass once more.
 * @param labels masked-LM labels in the batch; default 15 % of the source tokens
 */
export function trainingOperations(
  config: PlugConfig,
  batch: Batch,
  { recompute = false, labels = maskedFraction * batch.batch * batch.sourceLength } = {},
): number {
  const { layers, heads } = forwardParts(config, batch, labels);
  return 2 * (3 * (layers + heads) + (recompute ? layers : 0));
}

function forwardParts(
  config: PlugConfig,
  { batch, sourceLength, targetLength }: Batch,
  labels: number,
): Parts {
  const { hiddenSize: e, intermediateSize: f, vocabSize: v, numHiddenLayers, decHiddenLayers } = config;
  const [source, target] = [batch * sourceLength, decHiddenLayers > 0 ? batch * targetLength : 0];
  const encoderLayer = source * (4 * e * e + 2 * e * f + 2 * sourceLength * e);
  const { intermediateSize: decoderWidth } = decoderConfig(config);
  const decoderLayer =
    target * (6 * e * e + 2 * e * decoderWidth + targetLength * e + 2 * sourceLength * e) +
    source * 2 * e * e;
  return {
    layers: numHiddenLayers * encoderLayer + decHiddenLayers * decoderLayer,
    heads: labels * (e * e + e * v) + target * e * v,
  };
}

/** Operations of encoding all sources, with each decoder layer's keys and values of them. */
export function encodingOperations(config: PlugConfig, batch: Batch): number {
  return (
    2 * forwardParts({ ...config, decHiddenLayers: 0 }, batch, 0).layers + sourceKeysValues(config, batch)
  );
}

function sourceKeysValues({ hiddenSize: e, decHiddenLayers }: PlugConfig, batch: Batch): number {
  return 2 * decHiddenLayers * batch.batch * batch.sourceLength * 2 * e * e;
}

/** Operations of writing one token in each row, on average over the target's length. */
export function decodingOperations(config: PlugConfig, batch: Batch): number {
  const { layers, heads } = forwardParts({ ...config, numHiddenLayers: 0 }, batch, 0);
  return (2 * (layers + heads) - sourceKeysValues(config, batch)) / batch.targetLength;
}
