// The whole model: embeddings, encoder, decoder and heads under their published names.
import { noGrad, type Tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import type { KeysValues } from './attention.js';
import { indexTensor, type TextBatch, type TextLayout, textLayout } from './batch.js';
import { DecoderCache } from './cache.js';
import type { PlugConfig } from './config.js';
import { Decoder } from './decoder.js';
import { Embeddings } from './embeddings.js';
import { Encoder } from './encoder.js';
import type { ForwardOptions } from './forward.js';
import { lmLogits, MaskedLmHead, SentenceHead, withoutPaddingVocab } from './heads.js';
import { denseLinear } from './layers.js';
import { ParameterScope, type ParameterSource } from './parameters.js';

/** PLUG, or with `decHiddenLayers` = 0 its StructBERT encoder alone. Legend of shapes: README.md in this folder. */
export class PlugModel implements Disposable {
  readonly config: PlugConfig;
  /** All parameters by published name; the tied `cls.predictions.decoder_weight` is the word embedding. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly #embeddings: Embeddings;
  readonly #encoder: Encoder;
  readonly #decoder: Decoder | undefined;
  readonly #maskedLm: MaskedLmHead;
  readonly #sentence: SentenceHead;

  constructor(config: PlugConfig, source: ParameterSource) {
    const parameters = new Map<string, Tensor>();
    const root = new ParameterScope(source, parameters);
    this.config = config;
    this.parameters = parameters;
    const bert = root.in('bert');
    this.#embeddings = new Embeddings(config, bert.in('embeddings'));
    this.#encoder = new Encoder(config, bert.in('encoder'));
    // Published files hold a pooler; nothing in the forward pass uses it.
    denseLinear(bert.in('pooler').in('dense'), config.hiddenSize, config.hiddenSize, config.initializerRange);
    this.#maskedLm = new MaskedLmHead(config, root.in('cls').in('predictions'));
    this.#sentence = new SentenceHead(config, root.in('cls').in('seq_relationship'));
    if (config.decHiddenLayers > 0) this.#decoder = new Decoder(config, root.in('decoder').in('decoder'));
  }

  /** Source texts → hidden states [N, E]. */
  encode(source: TextBatch, options: ForwardOptions): Tensor {
    // Embedding dropout is keyed past all layers: encoder's first, decoder's second.
    const embedded = this.#embeddings.forward(source, options, this.#numLayers());
    return this.#encoder.forward(embedded, source.layout, options);
  }

  /** Target texts, given the encoded source of each → hidden states [Ntarget, E]. */
  decode(target: TextBatch, encoded: Tensor, source: TextLayout, options: ForwardOptions): Tensor {
    const embedded = this.#embeddings.forward(target, options, this.#numLayers() + 1);
    return this.#requireDecoder().forward(embedded, target.layout, encoded, source, options);
  }

  /**
   * Prepares incremental decoding of up to `maxLength` target tokens for each source text.
   * @throws ShapeError when that is more than the model has positions
   */
  startDecoding(
    encoded: Tensor,
    source: TextLayout,
    maxLength: number,
    options: ForwardOptions,
  ): DecoderCache {
    const { maxPositionEmbeddings } = this.config;
    if (maxLength > maxPositionEmbeddings)
      throw new ShapeError(
        `Decoding ${maxLength} tokens was asked for, but this model has ${maxPositionEmbeddings} positions.`,
      );
    const memory: KeysValues[] = noGrad(() => this.#requireDecoder().memory(encoded, source, options));
    return new DecoderCache(memory, maxLength);
  }

  /** One token for each row, [B] ids → hidden states [B, E]. */
  decodeStep(ids: ArrayLike<number>, cache: DecoderCache, options: ForwardOptions): Tensor {
    const layout = textLayout(new Int32Array(ids.length).fill(1));
    const position = indexTensor(new Int32Array(ids.length).fill(cache.length));
    const tokenTypeIds = indexTensor(new Int32Array(ids.length));
    const batch: TextBatch = { ids: indexTensor(ids), positionIds: position, tokenTypeIds, layout };
    const embedded = this.#embeddings.forward(batch, options, this.#numLayers() + 1);
    return this.#requireDecoder().forwardCached(embedded, layout, cache, options);
  }

  /** Hidden states [M, E] → logits [M, V] of the masked-LM head. */
  mlmLogits(hidden: Tensor, options: ForwardOptions): Tensor {
    return this.#softmaxed(this.#maskedLm.forward(hidden, this.#embeddings.wordEmbeddings, options));
  }

  /** Hidden states [M, E] → logits [M, V] of the LM head. */
  lmLogits(hidden: Tensor, options: ForwardOptions): Tensor {
    return this.#softmaxed(lmLogits(hidden, this.#embeddings.wordEmbeddings, options));
  }

  /** Encoded source [N, E] → logits [B, 3] of the sentence relation. */
  sentenceLogits(encoded: Tensor, layout: TextLayout): Tensor {
    return this.#sentence.forward(this.firstTokens(encoded, layout));
  }

  /** Encoded source [N, E] → the first token's state of each text [B, E]. */
  firstTokens(encoded: Tensor, layout: TextLayout): Tensor {
    return encoded.indexSelect(0, indexTensor(layout.starts));
  }

  [Symbol.dispose](): void {
    for (const parameter of this.parameters.values()) parameter.dispose();
  }

  #softmaxed(logits: Tensor): Tensor {
    return this.config.maskPaddingVocab ? withoutPaddingVocab(logits, this.config) : logits;
  }

  #numLayers(): number {
    return this.config.numHiddenLayers + this.config.decHiddenLayers;
  }

  #requireDecoder(): Decoder {
    if (!this.#decoder)
      throw new ShapeError('This model is an encoder alone (dec_hidden_layers is 0): it cannot decode.');
    return this.#decoder;
  }
}
