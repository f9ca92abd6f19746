// Memory of a model that encodes and writes, by how its weights are packed, and what it takes on disk.
import { nn } from '@openplug/torch';
import { bytesOf } from '../checkpoint/index.js';
import type { PlugConfig } from '../model/index.js';
import { multipliedTables, type PlannedParameter, plannedParameters, product } from './parameters.js';
import { processBytes } from './training-memory.js';
import { type InferencePrecision, type InferenceWork, type RankTokens, rankTokens } from './work.js';

/** Bytes of one rank. */
export interface InferenceMemory {
  /** Weights of linear layers, packed. */
  readonly weights: number;
  /** The word embedding packed once more, for the product that makes logits. */
  readonly outputEmbedding: number;
  /** Tables that are looked up. */
  readonly embeddings: number;
  /** Biases and norms, float32. */
  readonly vectors: number;
  /** While encoding: one layer's tensors. */
  readonly activations: number;
  /** Keys and values of the source and of what has been written, in all decoder layers. */
  readonly keysValues: number;
  readonly logits: number;
  readonly process: number;
  readonly total: number;
}

/** Memory of one rank of the mesh while it writes `targetLength` tokens for each of `batch` sources. */
export function inferenceMemory(config: PlugConfig, work: InferenceWork): InferenceMemory {
  const { precision, mesh } = work;
  const tokens = rankTokens(config, work, mesh);
  // Activations of int8 and int4 models are float32, kept keys and values are not.
  const width = precision === 'bfloat16' ? 2 : 4;
  const cacheWidth = precision === 'float32' ? 4 : 2;
  const { vocabSize, decHiddenLayers, hiddenSize: e } = config;
  const parts = {
    // No forward pass uses the pooler, so it is not held.
    ...weightBytes(
      plannedParameters(config, mesh.tensor).filter(({ part }) => part !== 'pooler'),
      precision,
    ),
    activations: encodingBytes(config, tokens, width, mesh.tensor),
    keysValues: (2 * cacheWidth * decHiddenLayers * e * (tokens.source + tokens.target)) / mesh.tensor,
    logits: decHiddenLayers > 0 ? (width * tokens.rows * vocabSize) / mesh.tensor : 0,
    process: processBytes,
  };
  return { ...parts, total: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0) };
}

/** One layer's tensors for all source tokens, and the residual before and after it. */
function encodingBytes(
  { hiddenSize: e, intermediateSize: f }: PlugConfig,
  { source }: RankTokens,
  c: number,
  tensor: number,
): number {
  const normalised = 2 * c * e;
  const attention = (3 * c * e + c * e) / tensor; // queries | keys | values, result
  const feedForward = (c * f) / tensor;
  const projectedBack = 2 * c * e;
  const residuals = 3 * 4 * e;
  return source * (normalised + attention + feedForward + projectedBack + residuals);
}

/** Bytes of weights as they are packed: tables in bfloat16 unless all is float32, biases and norms in float32. */
function weightBytes(
  parameters: readonly PlannedParameter[],
  precision: InferencePrecision,
): Pick<InferenceMemory, 'weights' | 'outputEmbedding' | 'embeddings' | 'vectors'> {
  const sum = (chosen: readonly PlannedParameter[], bytes: (shape: readonly number[]) => number): number =>
    chosen.reduce((all, { rankShape }) => all + bytes(rankShape), 0);
  const linear = parameters.filter(({ role }) => role === 'linear');
  const matrices = parameters.filter(({ role, shape }) => role !== 'linear' && shape.length === 2);
  const vectors = parameters.filter(({ shape }) => shape.length === 1);
  const words = parameters.filter(({ name }) => multipliedTables.includes(name));
  // Logits decide which token is written: the output embedding keeps 8 bits at least.
  const tied = precision === 'int4' ? 'int8' : precision;
  return {
    weights: sum(linear, (shape) => packedBytes(shape, precision)),
    outputEmbedding: sum(words, (shape) => packedBytes(shape, tied)),
    embeddings: sum(matrices, (shape) => (precision === 'float32' ? 4 : 2) * product(shape)),
    vectors: sum(vectors, (shape) => 4 * product(shape)),
  };
}

function packedBytes(shape: readonly number[], precision: InferencePrecision): number {
  const [outFeatures, inFeatures] = shape as [number, number];
  return nn
    .packedShapes(outFeatures, inFeatures, precision)
    .reduce((sum, tensor) => sum + bytesOf(tensor), 0);
}

/** How a model can be stored: plainly, to be trained and exported, or packed for inference. */
export const storageFormats = ['float32', 'float16', 'bfloat16', 'int8', 'int4'] as const;
export type StorageFormat = (typeof storageFormats)[number];

/** Bytes of the weights in a model folder; a packed folder holds the output embedding beside the word embedding. */
export function diskBytes(config: PlugConfig, format: StorageFormat): number {
  const parameters = plannedParameters(config);
  if (format === 'int8' || format === 'int4')
    return Object.values(weightBytes(parameters, format)).reduce((sum, bytes) => sum + bytes, 0);
  return (format === 'float32' ? 4 : 2) * parameters.reduce((sum, { rankCount }) => sum + rankCount, 0);
}

/** Bytes that writing one token for each row reads: the decoder, the output embedding, keys and values. */
export function bytesPerStep(config: PlugConfig, work: InferenceWork): number {
  const { precision, mesh } = work;
  const { keysValues } = inferenceMemory(config, work);
  const decoder = plannedParameters(config, mesh.tensor).filter(
    ({ part, name }) => part === 'decoder' && !name.includes('cross_attention.key_value'),
  );
  const output = weightBytes(plannedParameters(config, mesh.tensor), precision).outputEmbedding;
  const { weights, vectors } = weightBytes(decoder, precision);
  return weights + vectors + output + keysValues;
}
