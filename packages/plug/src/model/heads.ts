// Output heads: masked-LM, sentence relation, and the LM head, which is the tied embedding alone.
import { aten, nn, type Tensor } from '@openplug/torch';
import type { PlugConfig } from './config.js';
import type { ForwardOptions } from './forward.js';
import { denseLinear, type LayerNorm, type Linear, layerNorm } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** `cls.predictions`: dense → gelu → LayerNorm → tied embedding + bias. */
export class MaskedLmHead {
  readonly #dense: Linear;
  readonly #norm: LayerNorm;
  readonly #bias: Tensor;

  constructor(config: PlugConfig, scope: ParameterScope) {
    const transform = scope.in('transform');
    this.#dense = denseLinear(
      transform.in('dense'),
      config.hiddenSize,
      config.hiddenSize,
      config.initializerRange,
    );
    this.#norm = layerNorm(transform.in('LayerNorm'), config.hiddenSize, config.layernormEpsilon);
    this.#bias = scope.get('bias', [config.vocabSize], 'zeros');
  }

  /** [M, E] → [M, V]. */
  forward(hidden: Tensor, wordEmbeddings: Tensor, options: ForwardOptions): Tensor {
    const { computeDType } = options;
    const transformed = this.#dense.forward(hidden.to(computeDType), 'gelu');
    return nn.linear(this.#norm.forward(transformed, computeDType), wordEmbeddings, this.#bias);
  }
}

/** `cls.seq_relationship`: three classes from a text's first token. */
export class SentenceHead {
  readonly #linear: Linear;

  constructor(config: PlugConfig, scope: ParameterScope) {
    this.#linear = denseLinear(scope, config.hiddenSize, 3, config.initializerRange);
  }

  /** [B, E] → [B, 3]. */
  forward(firstTokens: Tensor): Tensor {
    return this.#linear.forward(firstTokens);
  }
}

/** hidden · word_embeddingsᵀ, without bias: [M, E] → [M, V]. */
export function lmLogits(hidden: Tensor, wordEmbeddings: Tensor, options: ForwardOptions): Tensor {
  return nn.linear(hidden.to(options.computeDType), wordEmbeddings);
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
