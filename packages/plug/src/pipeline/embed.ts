// Vectors of texts: the encoder's final states, pooled.
import { noGrad, scope } from '@openplug/torch';
import { encodeText } from '../finetune/encoding.js';
import { scoringBatches } from '../finetune/example-batches.js';
import { type PlugModel, packTexts, textBatch } from '../model/index.js';
import type { Tokenizer } from '../text/index.js';

export interface EmbeddingOptions {
  /** `mean` of the final states of a text's tokens (default), or that of its first token. */
  pooling?: 'mean' | 'first';
  /** Scale vectors to length 1, so that their product is the cosine. Default true. */
  normalize?: boolean;
}

export interface Embeddings {
  /** One of the hidden size for each text. */
  readonly vectors: readonly Float32Array[];
  /** Tokens that were read. */
  readonly numTokens: number;
}

const tokensPerBatch = 4096;

/** What is past the model's positions is cut. */
export function embed(
  model: PlugModel,
  tokenizer: Tokenizer,
  texts: readonly string[],
  { pooling = 'mean', normalize = true }: EmbeddingOptions,
): Embeddings {
  const window = model.config.maxPositionEmbeddings;
  const ids = texts.map((text) => encodeText(tokenizer, { text }, window).inputIds);
  const vectors = new Array<Float32Array>(texts.length);
  const width = model.config.hiddenSize;
  for (const indices of scoringBatches(
    ids.map(({ length }) => ({ source: length, target: 0 })),
    tokensPerBatch,
  )) {
    const rows = indices.map((index) => ids[index]!);
    const values = noGrad(() =>
      scope(() =>
        Float32Array.from(
          model
            .encode(textBatch(packTexts(rows)), model.inference)
            .to('float32')
            .toTypedArray() as Float32Array,
        ),
      ),
    );
    let at = 0;
    for (const [row, index] of indices.entries()) {
      const length = pooling === 'first' ? 1 : rows[row]!.length;
      vectors[index] = pooled(values.subarray(at * width, (at + length) * width), width, normalize);
      at += rows[row]!.length;
    }
  }
  return { vectors, numTokens: ids.reduce((sum, { length }) => sum + length, 0) };
}

/** The mean of rows [tokens, width]. */
function pooled(states: Float32Array, width: number, normalize: boolean): Float32Array {
  const sums = new Float64Array(width);
  for (const [at, value] of states.entries()) sums[at % width]! += value;
  const length = normalize ? Math.hypot(...sums) : states.length / width;
  return Float32Array.from(sums, (sum) => (length > 0 ? sum / length : 0));
}
