// The whole model: embeddings, encoder, decoder and heads under their published names.
import { type nn, noGrad, scope, type Tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import { indexTensor, type TextBatch, type TextLayout } from './batch.js';
import { DecoderCache, type StepCache } from './cache.js';
import type { PlugConfig } from './config.js';
import { Decoder } from './decoder.js';
import { Embeddings, type TargetEmbeddings } from './embeddings.js';
import { Encoder } from './encoder.js';
import { type ForwardOptions, inferenceIn } from './forward.js';
import { MaskedLmHead, SentenceHead, withoutPaddingVocab } from './heads.js';
import { type LinearLayers, trainableLayers } from './layers.js';
import type { LoraSettings } from './lora.js';
import { type ModelParts, ParameterScope, type ParameterSource } from './parameters.js';
import { SinusoidalEmbeddings } from './sinusoidal-embeddings.js';
import { SlotCache } from './slot-cache.js';

/** PLUG, or with `decHiddenLayers` = 0 its StructBERT encoder alone. Legend of shapes: README.md in this folder. */
export class PlugModel implements Disposable {
  readonly config: PlugConfig;
  /**
   * All parameters by published name; the tied `cls.predictions.decoder_weight` is the word embedding. Of a packed
   * model only those that are not packed.
   */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** How the weights of a model for inference are packed; undefined for one that can be trained and saved. */
  readonly precision: nn.Precision | undefined;
  /** The adapters that are trained in place of the model, if there are any. */
  readonly lora: LoraSettings | undefined;
  /** Options of a plain forward pass in this model's precision. */
  readonly inference: ForwardOptions;
  readonly #packed: readonly Tensor[];
  readonly #embeddings: Embeddings;
  readonly #targetEmbeddings: TargetEmbeddings;
  readonly #encoder: Encoder;
  readonly #decoder: Decoder | undefined;
  readonly #maskedLm: MaskedLmHead;
  readonly #sentence: SentenceHead;

  /** @param layers how linear layers are made. Default: they can be trained. */
  constructor(config: PlugConfig, source: ParameterSource, layers: LinearLayers = trainableLayers) {
    const { precision } = layers;
    const parts: ModelParts = { source, layers, parameters: new Map(), packed: [] };
    const root = new ParameterScope(parts);
    this.config = config;
    this.parameters = parts.parameters;
    this.precision = precision;
    this.lora = layers.lora;
    this.inference = inferenceIn(precision);
    this.#packed = parts.packed;
    const bert = root.in('bert');
    const predictions = root.in('cls').in('predictions');
    this.#embeddings = new Embeddings(config, bert.in('embeddings'), predictions);
    this.#encoder = new Encoder(config, bert.in('encoder'));
    // Published files hold a pooler; nothing in the forward pass uses it.
    bert.in('pooler').in('dense').unused(config.hiddenSize, config.hiddenSize, config.initializerRange);
    this.#maskedLm = new MaskedLmHead(config, predictions);
    this.#sentence = new SentenceHead(config, root.in('cls').in('seq_relationship'));
    this.#targetEmbeddings = this.#embeddings;
    if (config.decHiddenLayers === 0) return;
    const decoder = root.in('decoder');
    if (config.decEmbeddings === 'sinusoidal')
      this.#targetEmbeddings = new SinusoidalEmbeddings(config, decoder);
    this.#decoder = new Decoder(config, decoder.in('decoder'));
  }

  /** Source texts → hidden states [N, E]. */
  encode(source: TextBatch, options: ForwardOptions): Tensor {
    this.#checkLength(source.layout.maxLength);
    // Embedding dropout is keyed past all layers: encoder's first, decoder's second.
    return scope(() => {
      const embedded = this.#embeddings.forward(source, options, this.#numLayers());
      return this.#encoder.forward(embedded, source.layout, options);
    });
  }

  /** Target texts, given the encoded source of each → hidden states [Ntarget, E]. */
  decode(target: TextBatch, encoded: Tensor, source: TextLayout, options: ForwardOptions): Tensor {
    this.#checkLength(target.layout.maxLength);
    return scope(() => {
      const embedded = this.#targetEmbeddings.forward(target, options, this.#numLayers() + 1);
      return this.#requireDecoder().forward(embedded, target.layout, encoded, source, options);
    });
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
    const memory = noGrad(() => this.#requireDecoder().memory(encoded, source, options));
    return new DecoderCache(memory, source, maxLength, options);
  }

  /** Room for up to `numSlots` texts that are decoded together but begin and end at different times. */
  newSlots(numSlots: number, options: ForwardOptions): SlotCache {
    this.#requireDecoder();
    return new SlotCache(this.config, numSlots, options);
  }

  /** Adds a row to the slots for each source text; their decoding begins at position 0. */
  fillSlots(slots: SlotCache, encoded: Tensor, source: TextLayout): void {
    noGrad(() =>
      scope(() => slots.add(this.#requireDecoder().memory(encoded, source, slots.options), source)),
    );
  }

  /**
   * Feeds one token of each row, [B] ids → LM logits of the tokens that follow [B, V].
   * @throws ShapeError when the cache is full, or has another number of rows
   */
  nextLogits(ids: ArrayLike<number>, cache: StepCache): Tensor {
    const { options } = cache;
    return cache.step(ids, () => {
      const embedded = this.#targetEmbeddings.forward(cache, options, this.#numLayers() + 1);
      return this.lmLogits(this.#requireDecoder().forwardCached(embedded, cache, options), options);
    });
  }

  /** Hidden states [M, E] → logits [M, V] of the masked-LM head. */
  mlmLogits(hidden: Tensor, options: ForwardOptions): Tensor {
    return this.#softmaxed(this.#maskedLm.forward(hidden, this.#embeddings, options));
  }

  /** Hidden states [M, E] → logits [M, V] of the LM head. */
  lmLogits(hidden: Tensor, options: ForwardOptions): Tensor {
    return this.#softmaxed(this.#targetEmbeddings.project(hidden.to(options.computeDType)));
  }

  /** Encoded source [N, E] → logits [B, 3] of the sentence relation. */
  sentenceLogits(encoded: Tensor, layout: TextLayout): Tensor {
    return this.#sentence.forward(this.firstTokens(encoded, layout));
  }

  /** Encoded source [N, E] → the first token's state of each text [B, E]. */
  firstTokens(encoded: Tensor, layout: TextLayout): Tensor {
    return encoded.indexSelect(0, indexTensor(layout.starts));
  }

  /** All tensors that the model holds: its parameters and packed weights. */
  *tensors(): Generator<Tensor, void, undefined> {
    yield* this.parameters.values();
    yield* this.#packed;
  }

  [Symbol.dispose](): void {
    for (const held of this.tensors()) held.dispose();
  }

  #softmaxed(logits: Tensor): Tensor {
    return this.config.maskPaddingVocab ? withoutPaddingVocab(logits, this.config) : logits;
  }

  #checkLength(maxLength: number): void {
    const { maxPositionEmbeddings } = this.config;
    if (maxLength > maxPositionEmbeddings)
      throw new ShapeError(
        `A text has ${maxLength} tokens, but this model has ${maxPositionEmbeddings} positions. ` +
          'Cut the text, or use a model with more positions.',
      );
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
