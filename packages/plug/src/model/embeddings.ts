// Word + position + token-type embeddings, LayerNorm, dropout: one module for encoder and decoder.
import { nn, type Tensor } from '@openplug/torch';
import type { TextBatch } from './batch.js';
import type { PlugConfig } from './config.js';
import { DropoutSites, type ForwardOptions } from './forward.js';
import { type LayerNorm, layerNorm } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** What is looked up of each token, int64 [N] each. */
export type EmbeddedTokens = Pick<TextBatch, 'ids' | 'positionIds' | 'tokenTypeIds'>;

export class Embeddings {
  /** hidden · word_embeddingsᵀ + bias, the output of the MLM and LM heads: [M, E] → [M, V]. */
  readonly project: (hidden: Tensor, bias?: Tensor) => Tensor;
  readonly #wordEmbeddings: Tensor;
  readonly #positionEmbeddings: Tensor;
  readonly #tokenTypeEmbeddings: Tensor;
  readonly #norm: LayerNorm;
  readonly #config: PlugConfig;

  constructor(config: PlugConfig, scope: ParameterScope) {
    const { hiddenSize, initializerRange: std } = config;
    const table = (name: string, rows: number): Tensor =>
      scope.in(name).get('weight', [rows, hiddenSize], { std });
    this.#wordEmbeddings = table('word_embeddings', config.vocabSize);
    this.project = scope.shared(this.#wordEmbeddings);
    this.#positionEmbeddings = table('position_embeddings', config.maxPositionEmbeddings);
    this.#tokenTypeEmbeddings = table('token_type_embeddings', config.typeVocabSize);
    this.#norm = layerNorm(scope.in('LayerNorm'), hiddenSize, config.layernormEpsilon);
    this.#config = config;
  }

  /**
   * @returns [N, E]
   * @param layer number that keys this call's dropout
   */
  forward(batch: EmbeddedTokens, options: ForwardOptions, layer: number): Tensor {
    const summed = nn
      .embedding(this.#wordEmbeddings, batch.ids)
      .add(nn.embedding(this.#positionEmbeddings, batch.positionIds))
      .add(nn.embedding(this.#tokenTypeEmbeddings, batch.tokenTypeIds));
    const sites = new DropoutSites(options, layer);
    return nn.dropout(this.#norm.forward(summed), sites.rate(this.#config.hiddenDropoutProb), sites.next());
  }
}
