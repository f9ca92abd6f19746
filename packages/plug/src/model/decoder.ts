// The pre-LN decoder: causal self-attention, cross-attention to the encoder's output, feed-forward.
import { nn, type Tensor } from '@openplug/torch';
import {
  type Attend,
  amongTexts,
  CrossAttention,
  type KeysValues,
  SelfAttention,
  toTexts,
} from './attention.js';
import type { TextLayout } from './batch.js';
import type { StepCache } from './cache.js';
import { decoderConfig, type PlugConfig } from './config.js';
import { DropoutSites, type ForwardOptions, runLayers, type StackedLayer } from './forward.js';
import { type Activation, type LayerNorm, type Linear, layerNorm } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** How a layer's tokens attend: all of a text at once, or each to those before it in a cache. */
interface DecoderAttention {
  toSelf: Attend;
  toSource: Attend;
}

class DecoderLayer {
  readonly crossAttention: CrossAttention;
  readonly #inputNorm: LayerNorm;
  readonly #attention: SelfAttention;
  readonly #crossNorm: LayerNorm;
  readonly #feedForwardNorm: LayerNorm;
  readonly #intermediate: Linear;
  readonly #activation: Activation;
  readonly #output: Linear;
  readonly #hiddenDropoutProb: number;
  readonly #index: number;

  constructor(config: PlugConfig, scope: ParameterScope, index: number) {
    const { hiddenSize, intermediateSize, initializerRange: std, layernormEpsilon: eps } = config;
    const outputStd = std / Math.sqrt(2 * config.numHiddenLayers);
    const attention = scope.in('attention');
    this.#inputNorm = layerNorm(scope.in('input_layernorm'), hiddenSize, eps);
    this.#attention = new SelfAttention(
      config,
      attention.in('query_key_value'),
      attention.in('dense'),
      outputStd,
    );
    this.#crossNorm = layerNorm(scope.in('post_attention_layernorm'), hiddenSize, eps);
    this.crossAttention = new CrossAttention(config, scope.in('cross_attention'), outputStd);
    this.#feedForwardNorm = layerNorm(scope.in('post_cross_attention_layernorm'), hiddenSize, eps);
    this.#intermediate = scope.in('intermediate').linear(hiddenSize, intermediateSize, std);
    this.#activation = config.decHiddenAct ?? 'gelu';
    this.#output = scope.in('output').linear(intermediateSize, hiddenSize, outputStd);
    this.#hiddenDropoutProb = config.hiddenDropoutProb;
    // Dropout is keyed by layer: the encoder's layers come first.
    this.#index = config.numHiddenLayers + index;
  }

  /** [N, E] → [N, E]. */
  forward(x: Tensor, attend: DecoderAttention, options: ForwardOptions): Tensor {
    const sites = new DropoutSites(options, this.#index);
    const rate = sites.rate(this.#hiddenDropoutProb);
    const normed = (norm: LayerNorm, value: Tensor): Tensor => norm.forward(value, options.computeDType);
    const attended = this.#attention.forward(normed(this.#inputNorm, x), attend.toSelf, sites);
    const middle = nn.residualDropout(x, attended, rate, sites.next());
    const crossed = this.crossAttention.forward(normed(this.#crossNorm, middle), attend.toSource, sites);
    const late = nn.residualDropout(middle, crossed, rate, sites.next());
    const inner = this.#intermediate.forward(normed(this.#feedForwardNorm, late), this.#activation, sites);
    const fed = this.#output.forward(inner, undefined, sites);
    return nn.residualDropout(late, fed, rate, sites.next());
  }
}

export class Decoder {
  readonly #layers: DecoderLayer[];
  readonly #finalNorm: LayerNorm;

  /** @param given of the whole model */
  constructor(given: PlugConfig, scope: ParameterScope) {
    const config = decoderConfig(given);
    this.#layers = Array.from(
      { length: config.decHiddenLayers },
      (_, index) => new DecoderLayer(config, scope.in('layer').in(`${index}`), index),
    );
    this.#finalNorm = layerNorm(scope.in('final_layernorm'), config.hiddenSize, config.layernormEpsilon);
  }

  /** Each layer's cross-attention keys and values, for decoding with a cache. */
  memory(encoded: Tensor, layout: TextLayout, options: ForwardOptions): KeysValues[] {
    const source = encoded.to(options.computeDType);
    const dtype = options.cacheDType ?? options.computeDType;
    return this.#layers.map((layer) => layer.crossAttention.keysValues(source, layout, dtype));
  }

  /**
   * All target tokens at once, as in training.
   * @param embedded [N, E]
   * @param encoded [Nsource, E]
   * @returns [N, E], normalised, in the compute dtype
   */
  forward(
    embedded: Tensor,
    layout: TextLayout,
    encoded: Tensor,
    source: TextLayout,
    options: ForwardOptions,
  ): Tensor {
    const memorySource = encoded.to(options.computeDType);
    const toSelf = amongTexts(layout, true);
    const layers = this.#layers.map(
      (layer, index): StackedLayer =>
        (x, memory) => {
          const sites = new DropoutSites(options, index);
          const toSource = toTexts(layout, layer.crossAttention.project(memory!, sites), source);
          return layer.forward(x, { toSelf, toSource }, options);
        },
    );
    const x = runLayers(options, layers, embedded, memorySource);
    return this.#finalNorm.forward(x, options.computeDType);
  }

  /** The newest token of each row, [B, E] → [B, E]; the cache holds all earlier ones and takes these. */
  forwardCached(embedded: Tensor, cache: StepCache, options: ForwardOptions): Tensor {
    let x = embedded;
    for (const [index, layer] of this.#layers.entries())
      x = layer.forward(x, cache.attention(index), options);
    return this.#finalNorm.forward(x, options.computeDType);
  }
}
