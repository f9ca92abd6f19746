// Word + position + token-type embeddings, LayerNorm, dropout: one module for encoder and decoder.
import { nn, type Tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import type { TextBatch } from './batch.js';
import type { PlugConfig } from './config.js';
import { DropoutSites, type ForwardOptions } from './forward.js';
import { type LayerNorm, layerNorm } from './layers.js';
import type { ParameterScope } from './parameters.js';

export class Embeddings {
  /** [V, E]; also the output matrix of the MLM and LM heads. */
  readonly wordEmbeddings: Tensor;
  readonly #positionEmbeddings: Tensor;
  readonly #tokenTypeEmbeddings: Tensor;
  readonly #norm: LayerNorm;
  readonly #config: PlugConfig;

  constructor(config: PlugConfig, scope: ParameterScope) {
    const { hiddenSize, initializerRange: std } = config;
    const table = (name: string, rows: number): Tensor =>
      scope.in(name).get('weight', [rows, hiddenSize], { std });
    this.wordEmbeddings = table('word_embeddings', config.vocabSize);
    this.#positionEmbeddings = table('position_embeddings', config.maxPositionEmbeddings);
    this.#tokenTypeEmbeddings = table('token_type_embeddings', config.typeVocabSize);
    this.#norm = layerNorm(scope.in('LayerNorm'), hiddenSize, config.layernormEpsilon);
    this.#config = config;
  }

  /**
   * @returns [N, E]
   * @param layer number that keys this call's dropout
   * @throws ShapeError when a row is longer than the position table
   */
  forward(batch: TextBatch, options: ForwardOptions, layer: number): Tensor {
    const { maxPositionEmbeddings } = this.#config;
    if (batch.layout.maxLength > maxPositionEmbeddings)
      throw new ShapeError(
        `A text has ${batch.layout.maxLength} tokens, but this model has ${maxPositionEmbeddings} positions. ` +
          'Cut the text, or use a model with more positions.',
      );
    const summed = nn
      .embedding(this.wordEmbeddings, batch.ids)
      .add(nn.embedding(this.#positionEmbeddings, batch.positionIds))
      .add(nn.embedding(this.#tokenTypeEmbeddings, batch.tokenTypeIds));
    const sites = new DropoutSites(options, layer);
    return nn.dropout(this.#norm.forward(summed), sites.rate(this.#config.hiddenDropoutProb), sites.next());
  }
}
