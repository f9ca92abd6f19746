// The StructBERT encoder: bidirectional layers, pre-LN (PLUG) or post-LN (BERT).
import { nn, type Tensor } from '@openplug/torch';
import { type Attend, amongTexts, SelfAttention } from './attention.js';
import type { TextLayout } from './batch.js';
import type { PlugConfig } from './config.js';
import { DropoutSites, type ForwardOptions, runLayers } from './forward.js';
import { type LayerNorm, type Linear, layerNorm } from './layers.js';
import type { ParameterScope } from './parameters.js';

class EncoderLayer {
  readonly #attentionNorm: LayerNorm;
  readonly #attention: SelfAttention;
  readonly #feedForwardNorm: LayerNorm;
  readonly #intermediate: Linear;
  readonly #output: Linear;
  readonly #config: PlugConfig;
  readonly #index: number;

  constructor(config: PlugConfig, scope: ParameterScope, index: number) {
    const { hiddenSize, intermediateSize, initializerRange: std, layernormEpsilon: eps } = config;
    const attention = scope.in('attention');
    // BERT's post-LN layers keep the norm beside the projection whose sum it normalises.
    const attentionNorm = config.preLn ? attention.in('LayerNorm') : attention.in('output').in('LayerNorm');
    const feedForwardNorm = config.preLn ? scope.in('LayerNorm') : scope.in('output').in('LayerNorm');
    this.#attentionNorm = layerNorm(attentionNorm, hiddenSize, eps);
    const projection = attention.in('self').in('query_key_value');
    this.#attention = new SelfAttention(config, projection, attention.in('output').in('dense'), std);
    this.#feedForwardNorm = layerNorm(feedForwardNorm, hiddenSize, eps);
    this.#intermediate = scope.in('intermediate').in('dense').linear(hiddenSize, intermediateSize, std);
    this.#output = scope.in('output').in('dense').linear(intermediateSize, hiddenSize, std);
    this.#config = config;
    this.#index = index;
  }

  prefetch(): void {
    this.#attention.prefetch();
    for (const linear of [this.#intermediate, this.#output]) linear.prefetch?.();
  }

  /** [N, E] → [N, E]. */
  forward(x: Tensor, attend: Attend, options: ForwardOptions): Tensor {
    const { preLn, hiddenDropoutProb } = this.#config;
    const sites = new DropoutSites(options, this.#index);
    const rate = sites.rate(hiddenDropoutProb);
    const { computeDType } = options;
    const feedForward = (value: Tensor): Tensor =>
      this.#output.forward(this.#intermediate.forward(value, 'gelu', sites), undefined, sites);
    if (preLn) {
      const attended = this.#attention.forward(this.#attentionNorm.forward(x, computeDType), attend, sites);
      const middle = nn.residualDropout(x, attended, rate, sites.next());
      const fed = feedForward(this.#feedForwardNorm.forward(middle, computeDType));
      return nn.residualDropout(middle, fed, rate, sites.next());
    }
    const attended = this.#attention.forward(x.to(computeDType), attend, sites);
    const middle = this.#attentionNorm.forward(nn.residualDropout(x, attended, rate, sites.next()));
    const fed = feedForward(middle.to(computeDType));
    return this.#feedForwardNorm.forward(nn.residualDropout(middle, fed, rate, sites.next()));
  }
}

export class Encoder {
  readonly #layers: EncoderLayer[];
  readonly #finalNorm: LayerNorm | undefined;
  readonly #config: PlugConfig;

  constructor(config: PlugConfig, scope: ParameterScope) {
    this.#layers = Array.from(
      { length: config.numHiddenLayers },
      (_, index) => new EncoderLayer(config, scope.in('layer').in(`${index}`), index),
    );
    if (config.preLn)
      this.#finalNorm = layerNorm(scope.in('LayerNorm'), config.hiddenSize, config.layernormEpsilon);
    this.#config = config;
  }

  /** [N, E] → [N, E], normalised. */
  forward(embedded: Tensor, layout: TextLayout, options: ForwardOptions): Tensor {
    const attend = amongTexts(layout, false);
    const layers = this.#layers.map((layer, index) => (x: Tensor) => {
      this.#layers[index + 1]?.prefetch();
      return layer.forward(x, attend, options);
    });
    const x = runLayers(options, layers, embedded);
    if (!this.#finalNorm) return x;
    const once = this.#finalNorm.forward(x);
    return this.#config.doubleFinalNorm ? this.#finalNorm.forward(once) : once;
  }
}
