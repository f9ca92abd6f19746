// What the forward pass of training leaves in memory for the backward pass, tensor by tensor. Handles are let go of when
// a layer has run (`runLayers`), so this is what the graph saves: for each operator what its backward reads.
//
// Letters as in model/README.md. c: bytes of the compute dtype; residuals, LayerNorm's statistics and the parameters are
// float32. Tensor-parallel ranks divide what has heads, feed-forward width or vocabulary by their number; the rest is
// whole on each. Dropout saves nothing: its masks are made again.
import { decoderConfig, type PlugConfig } from '../model/index.js';
import type { RankTokens } from './work.js';

/** Bytes that one part of the forward pass keeps, and what it needs besides for a moment. */
export interface PartMemory {
  /** Kept until the backward pass has used it. */
  readonly kept: number;
  /** More while its forward pass runs. */
  readonly forward: number;
  /** More while its backward pass runs: gradients of activations. */
  readonly backward: number;
}

/** Sizes that all formulas use. */
export interface ActivationSizes extends RankTokens {
  readonly config: PlugConfig;
  /** Bytes of the compute dtype: c. */
  readonly width: number;
  readonly tensor: number;
}

const statistics = 8; // mean and 1/deviation of one row of a LayerNorm

/** One encoder layer. Post-LN keeps as much: sums before each norm in place of each norm's input. */
export function encoderLayer({ config, width: c, tensor, source }: ActivationSizes): PartMemory {
  const { hiddenSize: e, intermediateSize: f, numAttentionHeads: h } = config;
  const token = selfAttention(e, h, c, tensor) + feedForward(e, f, c, tensor);
  return {
    kept: source * token,
    // Outputs of the two projections back [N, E], summed into the residual at once, and the layer's own output.
    forward: source * (2 * c * e + 4 * e),
    backward: source * backwardOfLayer(e, f, c, tensor),
  };
}

/** One decoder layer, with what it keeps of the source. */
export function decoderLayer({ config, width: c, tensor, source, target }: ActivationSizes): PartMemory {
  const { hiddenSize: e, intermediateSize: f, numAttentionHeads: h } = decoderConfig(config);
  const cross =
    4 * e + // residual after self-attention, the norm's input
    statistics +
    c * e + // normalised, the query projection's input
    (c * e) / tensor + // queries, read by attention
    (c * e) / tensor + // attention's result, also the output projection's input
    (8 * h) / tensor; // largest score and log of the sum, float32, of each query and head
  const token = selfAttention(e, h, c, tensor) + cross + feedForward(e, f, c, tensor);
  const keysValues = (2 * c * e) / tensor;
  return {
    kept: target * token + source * keysValues,
    forward: target * (3 * c * e + 4 * e),
    // The gradient of keys and values, and that of the encoder's output, to which each layer adds.
    backward: target * backwardOfLayer(e, f, c, tensor) + source * (keysValues + 2 * c * e),
  };
}

function selfAttention(e: number, h: number, c: number, tensor: number): number {
  return (
    4 * e + // the layer's input, the norm's input
    statistics +
    c * e + // normalised, the fused projection's input
    (3 * c * e) / tensor + // queries | keys | values, read by attention
    (c * e) / tensor + // attention's result, also the output projection's input
    (8 * h) / tensor // largest score and log of the sum, float32, of each query and head
  );
}

function feedForward(e: number, f: number, c: number, tensor: number): number {
  return (
    4 * e + // residual after attention, the norm's input
    statistics +
    c * e + // normalised, the input of the projection up
    (c * f) / tensor + // before the bias and gelu
    (c * f) / tensor // after gelu, the input of the projection down
  );
}

/** Of a token, where it is most: the gradients of the residual, and on both sides of gelu. */
function backwardOfLayer(e: number, f: number, c: number, tensor: number): number {
  return 4 * e + c * e + (2 * c * f) / tensor;
}

/** Embeddings of so many tokens. Their output is the first layer's input, and counted there. */
export function embeddings({ config, tensor }: ActivationSizes, tokens: number): PartMemory {
  const e = config.hiddenSize;
  return {
    kept: tokens * (4 * e + statistics), // the sum, the norm's input; tables keep only the ids
    forward: tokens * 6 * 4 * e, // word, position, their sum, type, normalised, after dropout
    // A gradient of the whole word embedding for each lookup.
    backward: tokens * 8 * e + (4 * config.vocabSize * e) / tensor,
  };
}

/** The encoder's final norm, with the encoded source in float32 and in the compute dtype, which decoder layers read. */
export function encoderNorm({ config, width: c, source }: ActivationSizes): PartMemory {
  const e = config.hiddenSize;
  const norms = config.preLn ? (config.doubleFinalNorm ? 2 : 1) : 0;
  const cast = config.decHiddenLayers > 0 && c !== 4 ? c * e : 0;
  return {
    kept: source * (4 * e + norms * (4 * e + statistics) + cast),
    forward: 0,
    backward: source * 8 * e,
  };
}

/** The decoder's final norm; its result is the output embedding's input. */
export function decoderNorm({ config, width: c, target }: ActivationSizes): PartMemory {
  const e = config.hiddenSize;
  return { kept: target * (4 * e + statistics + c * e), forward: 0, backward: target * 8 * e };
}

/** The masked-LM head up to its logits. */
export function maskedLmHead({ config, width: c, source, labels }: ActivationSizes): PartMemory {
  const e = config.hiddenSize;
  return {
    // The labelled states; before gelu; after it, the norm's input; normalised.
    kept: labels * (4 * c * e + statistics),
    forward: c === 4 ? 0 : labels * 4 * e,
    // The labelled states' gradient among all tokens, which waits for the encoder's turn.
    backward: labels * 4 * c * e + source * 4 * e,
  };
}

/** Logits of so many rows: the loss keeps their gradient alone; they themselves go when it has been computed. */
export function logits({ config, width: c, tensor }: ActivationSizes, rows: number): PartMemory {
  const bytes = (c * rows * config.vocabSize) / tensor;
  return { kept: bytes, forward: bytes, backward: c * rows * config.hiddenSize };
}
