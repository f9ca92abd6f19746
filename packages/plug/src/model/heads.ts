// Output heads: masked-LM and sentence relation. The LM head is the tied embedding alone (`Embeddings.project`).
import { aten, type Tensor } from '@openplug/torch';
import type { PlugConfig } from './config.js';
import type { Embeddings } from './embeddings.js';
import type { ForwardOptions } from './forward.js';
import { type LayerNorm, type Linear, layerNorm } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** `cls.predictions`: dense → gelu → LayerNorm → tied embedding + bias. */
export class MaskedLmHead {
  readonly #dense: Linear;
  readonly #norm: LayerNorm;
  readonly #bias: Tensor;

  constructor(config: PlugConfig, scope: ParameterScope) {
    const transform = scope.in('transform');
    this.#dense = transform.in('dense').linear(config.hiddenSize, config.hiddenSize, config.initializerRange);
    this.#norm = layerNorm(transform.in('LayerNorm'), config.hiddenSize, config.layernormEpsilon);
    this.#bias = scope.get('bias', [config.vocabSize], 'zeros');
  }

  /** [M, E] → [M, V]. */
  forward(hidden: Tensor, embeddings: Embeddings, options: ForwardOptions): Tensor {
    const { computeDType } = options;
    const transformed = this.#dense.forward(hidden.to(computeDType), 'gelu');
    return embeddings.project(this.#norm.forward(transformed, computeDType), this.#bias);
  }
}

/** `cls.seq_relationship`: three classes from a text's first token. */
export class SentenceHead {
  readonly #linear: Linear;

  constructor(config: PlugConfig, scope: ParameterScope) {
    this.#linear = scope.linear(config.hiddenSize, 3, config.initializerRange);
  }

  /** [B, E] → [B, 3]. */
  forward(firstTokens: Tensor): Tensor {
    return this.#linear.forward(firstTokens);
  }
}

/** Gives padding rows of the vocabulary no probability: their logits become −∞ in place of what they were. */
export function withoutPaddingVocab(logits: Tensor, config: PlugConfig): Tensor {
  if (config.originalVocabSize === config.vocabSize) return logits;
  const real = logits.narrow(1, 0, config.originalVocabSize);
  return aten.constant_pad_nd(
    real,
    [0, config.vocabSize - config.originalVocabSize],
    Number.NEGATIVE_INFINITY,
  );
}
