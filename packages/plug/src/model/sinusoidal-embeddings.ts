// Target embeddings of a decoder of its own: a word table × √E + fixed sinusoids, without norm or token types, and an LM
// head with a bias. As in Vaswani et al. 2017 (arXiv 1706.03762, §3.4 and §3.5), and in PALM 2.0.
import { nn, type Tensor, tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import type { PlugConfig } from './config.js';
import { type EmbeddedTokens, lookUp, type TargetEmbeddings } from './embeddings.js';
import { DropoutSites, type ForwardOptions } from './forward.js';
import type { ParameterScope } from './parameters.js';

export class SinusoidalEmbeddings implements TargetEmbeddings {
  readonly project: (hidden: Tensor) => Tensor;
  readonly #words: Tensor;
  /** [positions, E], in the dtype in which rows of words come. */
  readonly #sinusoids: () => Tensor;
  readonly #config: PlugConfig;

  /** @param scope of the decoder: `embeddings.weight` [V, E] and `generator.bias` [V] */
  constructor(config: PlugConfig, scope: ParameterScope) {
    const { vocabSize, hiddenSize, initializerRange: std } = config;
    this.#words = scope.in('embeddings').table(vocabSize, hiddenSize, std);
    const generator = scope.in('generator');
    const product = generator.tied('weight', this.#words);
    const bias = generator.get('bias', [vocabSize], 'zeros');
    this.project = (hidden) => product(hidden, bias);
    const isWide = this.#words.dtype === 'float64';
    this.#sinusoids = scope.constant(() => sinusoids(config, isWide ? Float64Array : Float32Array));
    this.#config = config;
  }

  forward(batch: EmbeddedTokens, options: ForwardOptions, layer: number): Tensor {
    const { hiddenSize, hiddenDropoutProb } = this.#config;
    if (batch.prompt)
      throw new ShapeError(
        `A target has the id ${-batch.prompt.count}: ids below 0 stand for prompt vectors, which only sources have.`,
      );
    const words = lookUp(this.#words, batch.ids).mul(Math.sqrt(hiddenSize));
    const summed = words.add(nn.embedding(this.#sinusoids(), batch.positionIds));
    const sites = new DropoutSites(options, layer);
    return nn.dropout(summed, sites.rate(hiddenDropoutProb), sites.next());
  }
}

/**
 * Row p: sin(p·f), cos(p·f) in turns, f = 10000^(−2i/E) for the i-th pair. Computed in float64: published code does it
 * in fp32, which is up to 3e-5 off at position 512.
 */
export function sinusoids(
  { maxPositionEmbeddings, hiddenSize }: PlugConfig,
  Numbers: Float64ArrayConstructor | Float32ArrayConstructor,
): Tensor {
  const values = new Numbers(maxPositionEmbeddings * hiddenSize);
  for (let index = 0; index < values.length; index++) {
    const position = Math.floor(index / hiddenSize);
    const column = index % hiddenSize;
    const angle = position * 10000 ** ((-2 * (column >> 1)) / hiddenSize);
    values[index] = column % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  }
  return tensor(values, { shape: [maxPositionEmbeddings, hiddenSize] });
}
