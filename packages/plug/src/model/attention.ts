// Multi-head attention: the projections, and the ways in which tokens attend, which differ between whole texts in
// packed rows and decoding with a cache.
import { nn, type Tensor } from '@openplug/torch';
import type { TextLayout } from './batch.js';
import type { PlugConfig } from './config.js';
import type { DropoutSites } from './forward.js';
import type { Linear } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** Keys and values of one layer, [R, H, S, D] each, with how many of each row are visible. */
export interface KeysValues {
  keys: Tensor;
  values: Tensor;
  /** int64 [R] */
  visible: Tensor;
}

/** What attention is given besides its projections. */
export interface AttendOptions {
  numHeads: number;
  dropoutP: number;
  sites: DropoutSites;
}

/**
 * softmax(q·kᵀ/√D)·v of each head; the published code scales q and k by D^¼ each, which is the same.
 * @param projected queries [N, E], in self-attention queries | keys | values [N, 3E]
 * @returns [N, E]
 */
export type Attend = (projected: Tensor, options: AttendOptions) => Tensor;

/** Every token to those of its own text, or with `causal` to those up to itself. */
export function amongTexts(layout: TextLayout, causal: boolean): Attend {
  return (projected, options) => {
    const parts = splitHeads(projected, layout, options.numHeads, 3);
    const [q, keys, values] = parts as [Tensor, Tensor, Tensor];
    return attend(q, { keys, values, visible: layout.visible }, layout, causal, options);
  };
}

/** Every token to all keys of its own row. */
export function fromTexts(layout: TextLayout, memory: KeysValues): Attend {
  return (query, options) => {
    const [q] = splitHeads(query, layout, options.numHeads, 1) as [Tensor];
    return attend(q, memory, layout, false, options);
  };
}

function splitHeads(x: Tensor, layout: TextLayout, numHeads: number, parts: number): Tensor[] {
  return nn.splitHeads(x, layout.lengths, layout.maxLength, numHeads, parts);
}

function attend(
  q: Tensor,
  { keys, values, visible }: KeysValues,
  layout: TextLayout,
  causal: boolean,
  { dropoutP, sites }: AttendOptions,
): Tensor {
  const attended = nn.attention(q, keys, values, {
    keyLengths: visible,
    scale: 1 / Math.sqrt(q.shape[3]!),
    causal,
    dropoutP: sites.rate(dropoutP),
    key: sites.next(),
  });
  return nn.mergeHeads(attended, layout.lengths, layout.numTokens);
}

/** Self-attention with one fused projection to queries, keys and values. */
export class SelfAttention {
  readonly #queryKeyValue: Linear;
  readonly #dense: Linear;
  readonly #numHeads: number;
  readonly #dropoutP: number;

  constructor(config: PlugConfig, projection: ParameterScope, output: ParameterScope, outputStd: number) {
    const { hiddenSize } = config;
    this.#queryKeyValue = projection.linear(hiddenSize, 3 * hiddenSize, config.initializerRange);
    this.#dense = output.linear(hiddenSize, hiddenSize, outputStd);
    this.#numHeads = config.numAttentionHeads;
    this.#dropoutP = config.attentionProbsDropoutProb;
  }

  /** [N, E] → [N, E]. */
  forward(x: Tensor, attend: Attend, sites: DropoutSites): Tensor {
    const options = { numHeads: this.#numHeads, dropoutP: this.#dropoutP, sites };
    return this.#dense.forward(attend(this.#queryKeyValue.forward(x), options));
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
    this.#query = scope.in('query').linear(hiddenSize, hiddenSize, std);
    this.#keyValue = scope.in('key_value').linear(hiddenSize, 2 * hiddenSize, std);
    this.#dense = scope.in('dense').linear(hiddenSize, hiddenSize, outputStd);
    this.#numHeads = config.numAttentionHeads;
    this.#dropoutP = config.attentionProbsDropoutProb;
  }

  /** Keys and values of the encoder's output [N, E]; computed once for a whole decoding. */
  keysValues(encoded: Tensor, layout: TextLayout): KeysValues {
    const parts = splitHeads(this.#keyValue.forward(encoded), layout, this.#numHeads, 2);
    const [keys, values] = parts as [Tensor, Tensor];
    return { keys, values, visible: layout.visible };
  }

  /** [N, E] → [N, E]. */
  forward(x: Tensor, attend: Attend, sites: DropoutSites): Tensor {
    const options = { numHeads: this.#numHeads, dropoutP: this.#dropoutP, sites };
    return this.#dense.forward(attend(this.#query.forward(x), options));
  }
}
