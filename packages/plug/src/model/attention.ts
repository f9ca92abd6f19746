// Multi-head attention: the projections, and the ways in which tokens attend, which differ between whole texts in
// packed rows and decoding with a cache.
import { type DType, nn, type Tensor } from '@openplug/torch';
import type { TextLayout } from './batch.js';
import type { PlugConfig } from './config.js';
import type { DropoutSites } from './forward.js';
import type { Linear } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** Kept keys and values of one layer's source texts, with how many tokens of each are visible. */
export interface KeysValues extends nn.KeptTokens {
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
  return (projected, options) =>
    attend(projected, layout, {
      ...options,
      visible: layout.visible,
      causal,
      width: projected.shape[1]! / 3,
    });
}

/** Every token to the source text of its own: keys | values [Nsource, 2E]. */
export function toTexts(layout: TextLayout, keysValues: Tensor, source: TextLayout): Attend {
  const memory = { keysValues, lengths: source.lengths };
  return (queries, options) =>
    attend(queries, layout, { ...options, memory, visible: source.visible, width: queries.shape[1]! });
}

function attend(
  queries: Tensor,
  { lengths }: TextLayout,
  {
    dropoutP,
    sites,
    width,
    ...options
  }: AttendOptions & Pick<nn.PackedAttentionOptions, 'memory' | 'visible' | 'causal'> & { width: number },
): Tensor {
  return nn.packedAttention(queries, {
    ...options,
    lengths,
    scale: Math.sqrt(options.numHeads / width),
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

  constructor(config: PlugConfig, projection: ParameterScope, output: ParameterScope, outputStd: number) {
    const { hiddenSize } = config;
    this.#queryKeyValue = projection.linear(hiddenSize, 3 * hiddenSize, config.initializerRange);
    this.#dense = output.linear(hiddenSize, hiddenSize, outputStd);
    this.#numHeads = config.numAttentionHeads;
    this.#dropoutP = config.attentionProbsDropoutProb;
  }

  prefetch(): void {
    for (const linear of [this.#queryKeyValue, this.#dense]) linear.prefetch?.();
  }

  /** [N, E] → [N, E]. */
  forward(x: Tensor, attend: Attend, sites: DropoutSites): Tensor {
    const options = { numHeads: this.#numHeads, dropoutP: this.#dropoutP, sites };
    const projected = this.#queryKeyValue.forward(x, undefined, sites);
    return this.#dense.forward(attend(projected, options), undefined, sites);
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

  /** Keys | values of the encoder's output, [N, E] → [N, 2E]. */
  project(encoded: Tensor, sites?: DropoutSites): Tensor {
    return this.#keyValue.forward(encoded, undefined, sites);
  }

  /** The same as single tokens attend to them, computed once for a whole decoding. */
  keysValues(encoded: Tensor, { lengths, maxLength, visible }: TextLayout, dtype: DType): KeysValues {
    const kept = nn.keepTexts(this.project(encoded), lengths, maxLength, this.#numHeads, dtype);
    return { ...kept, visible };
  }

  /** [N, E] → [N, E]. */
  forward(x: Tensor, attend: Attend, sites: DropoutSites): Tensor {
    const options = { numHeads: this.#numHeads, dropoutP: this.#dropoutP, sites };
    const queries = this.#query.forward(x, undefined, sites);
    return this.#dense.forward(attend(queries, options), undefined, sites);
  }
}
