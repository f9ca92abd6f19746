// Word + position + token-type embeddings, LayerNorm, dropout: one module for encoder and decoder.
import { nn, type Tensor } from '@openplug/torch';
import type { TextBatch } from './batch.js';
import type { PlugConfig } from './config.js';
import { DropoutSites, type ForwardOptions } from './forward.js';
import { type LayerNorm, layerNorm, type Product } from './layers.js';
import type { ParameterScope } from './parameters.js';
import { withPrompt } from './prompt.js';

/** What is looked up of each token, int64 [N] each. */
export type EmbeddedTokens = Pick<TextBatch, 'ids' | 'positionIds' | 'tokenTypeIds' | 'prompt'>;

/** Embeds target tokens, and turns the decoder's states into logits. */
export interface TargetEmbeddings {
  /** @returns [N, E] @param layer number that keys this call's dropout */
  forward(batch: EmbeddedTokens, options: ForwardOptions, layer: number): Tensor;
  /** [M, E] → [M, V]. */
  project(hidden: Tensor): Tensor;
}

/** The encoder's, which PLUG's decoder uses too. */
export class Embeddings implements TargetEmbeddings {
  /** hidden · word_embeddingsᵀ + bias, the output of the MLM and LM heads: [M, E] → [M, V]. */
  readonly project: Product;
  readonly #wordEmbeddings: Tensor;
  readonly #positionEmbeddings: Tensor;
  readonly #tokenTypeEmbeddings: Tensor;
  readonly #promptEmbeddings: Tensor | undefined;
  readonly #norm: LayerNorm;
  readonly #config: PlugConfig;

  /** @param predictions the scope of the output embedding, `decoder_weight`, which is the word embedding */
  constructor(config: PlugConfig, scope: ParameterScope, predictions: ParameterScope) {
    const { hiddenSize, initializerRange: std } = config;
    const table = (name: string, rows: number): Tensor => scope.in(name).table(rows, hiddenSize, std);
    this.#wordEmbeddings = table('word_embeddings', config.vocabSize);
    this.project = predictions.tied('decoder_weight', this.#wordEmbeddings);
    this.#positionEmbeddings = table('position_embeddings', config.maxPositionEmbeddings);
    this.#tokenTypeEmbeddings = table('token_type_embeddings', config.typeVocabSize);
    if (config.promptTokens !== undefined)
      this.#promptEmbeddings = scope
        .in('prompt_embeddings')
        .get('weight', [config.promptTokens, hiddenSize], { std });
    this.#norm = layerNorm(scope.in('LayerNorm'), hiddenSize, config.layernormEpsilon);
    this.#config = config;
  }

  /**
   * @returns [N, E]
   * @param layer number that keys this call's dropout
   */
  forward(batch: EmbeddedTokens, options: ForwardOptions, layer: number): Tensor {
    const words = lookUp(this.#wordEmbeddings, batch.ids);
    const summed = (batch.prompt ? withPrompt(words, batch.prompt, this.#promptEmbeddings) : words)
      .add(lookUp(this.#positionEmbeddings, batch.positionIds))
      .add(lookUp(this.#tokenTypeEmbeddings, batch.tokenTypeIds));
    const sites = new DropoutSites(options, layer);
    return nn.dropout(this.#norm.forward(summed), sites.rate(this.#config.hiddenDropoutProb), sites.next());
  }
}

/** Rows of a table; those stored in half precision are summed in fp32. */
export function lookUp(table: Tensor, ids: Tensor): Tensor {
  const rows = nn.embedding(table, ids);
  return table.dtype === 'float64' ? rows : rows.to('float32');
}
