// Multi-head attention over packed rows: self-attention of the encoder, causal self-attention and
// cross-attention of the decoder, with or without a cache.
import { nn, type Tensor } from '@openplug/torch';
import type { TextLayout } from './batch.js';
import type { PlugConfig } from './config.js';
import type { DropoutSites } from './forward.js';
import { denseLinear, type Linear } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** Keys and values of one layer, [B, H, S, D] each, with how many of each row are visible. */
export interface KeysValues {
  keys: Tensor;
  values: Tensor;
  /** int64 [B]; undefined when all are. */
  visible: Tensor | undefined;
}

interface AttendOptions {
  causal: boolean;
  dropoutP: number;
  sites: DropoutSites;
}

/** softmax(q·kᵀ/√D)·v; the published code scales q and k by D^¼ each, which is the same. */
function attend(
  q: Tensor,
  { keys, values, visible }: KeysValues,
  { causal, dropoutP, sites }: AttendOptions,
): Tensor {
  return nn.attention(q, keys, values, {
    ...(visible && { keyLengths: visible }),
    scale: 1 / Math.sqrt(q.shape[3]!),
    causal,
    dropoutP: sites.rate(dropoutP),
    key: sites.next(),
  });
}

/** Self-attention with one fused projection to queries, keys and values. */
export class SelfAttention {
  readonly #queryKeyValue: Linear;
  readonly #dense: Linear;
  readonly #numHeads: number;
  readonly #dropoutP: number;
  readonly #causal: boolean;

  constructor(
    config: PlugConfig,
    projection: ParameterScope,
    output: ParameterScope,
    outputStd: number,
    causal: boolean,
  ) {
    const { hiddenSize } = config;
    this.#queryKeyValue = denseLinear(projection, hiddenSize, 3 * hiddenSize, config.initializerRange);
    this.#dense = denseLinear(output, hiddenSize, hiddenSize, outputStd);
    this.#numHeads = config.numAttentionHeads;
    this.#dropoutP = config.attentionProbsDropoutProb;
    this.#causal = causal;
  }

  /**
   * [N, E] → [N, E].
   * @param extend given the new keys and values of this call, returns all that the queries may see (a cache)
   */
  forward(
    x: Tensor,
    layout: TextLayout,
    sites: DropoutSites,
    extend?: (keys: Tensor, values: Tensor) => KeysValues,
  ): Tensor {
    const projected = this.#queryKeyValue.forward(x);
    const [q, k, v] = nn.splitHeads(projected, layout.lengths, layout.maxLength, this.#numHeads, 3) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const seen = extend ? extend(k, v) : { keys: k, values: v, visible: layout.visible };
    const attended = attend(q, seen, { causal: this.#causal, dropoutP: this.#dropoutP, sites });
    return this.#dense.forward(nn.mergeHeads(attended, layout.lengths, layout.numTokens));
  }
}

/** Attention of the decoder to the encoder's output. */
export class CrossAttention {
  readonly #query: Linear;
  readonly #keyValue: Linear;
  readonly #dense: Linear;
  readonly #numHeads: number;
  readonly #dropoutP: number;

  constructor(config: PlugConfig, scope: ParameterScope, outputStd: number) {
    const { hiddenSize, initializerRange: std } = config;
    this.#query = denseLinear(scope.in('query'), hiddenSize, hiddenSize, std);
    this.#keyValue = denseLinear(scope.in('key_value'), hiddenSize, 2 * hiddenSize, std);
    this.#dense = denseLinear(scope.in('dense'), hiddenSize, hiddenSize, outputStd);
    this.#numHeads = config.numAttentionHeads;
    this.#dropoutP = config.attentionProbsDropoutProb;
  }

  /** Keys and values of the encoder's output [N, E]; computed once for a whole decoding. */
  keysValues(encoded: Tensor, layout: TextLayout): KeysValues {
    const projected = this.#keyValue.forward(encoded);
    const [keys, values] = nn.splitHeads(projected, layout.lengths, layout.maxLength, this.#numHeads, 2) as [
      Tensor,
      Tensor,
    ];
    return { keys, values, visible: layout.visible };
  }

  /** [N, E] → [N, E]. */
  forward(x: Tensor, layout: TextLayout, memory: KeysValues, sites: DropoutSites): Tensor {
    const [q] = nn.splitHeads(
      this.#query.forward(x),
      layout.lengths,
      layout.maxLength,
      this.#numHeads,
      1,
    ) as [Tensor];
    const attended = attend(q, memory, { causal: false, dropoutP: this.#dropoutP, sites });
    return this.#dense.forward(nn.mergeHeads(attended, layout.lengths, layout.numTokens));
  }
}
