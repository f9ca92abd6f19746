// What a forward pass is told besides its inputs: precision, dropout, recomputation.
import type { DropoutKey, DType, Tensor } from '@openplug/torch';
import { checkpoint } from '@openplug/torch';

/** Options of one forward pass. */
export interface ForwardOptions {
  /** Dtype of matrix products and attention; residuals, LayerNorm and softmax keep the parameters' dtype. */
  computeDType: DType;
  /** Dtype of kept keys and values in decoding: `computeDType` (default), or bfloat16 under float32. */
  cacheDType?: DType;
  /** Present while training: scales the configured dropout on and keys its masks. */
  dropoutSeed?: number;
  /** Recompute each layer in the backward pass instead of keeping its activations. Default false. */
  recomputeLayers?: boolean;
}

/** Plain inference in fp32. */
export const inference: ForwardOptions = { computeDType: 'float32' };

const sitesPerLayer = 8;

/** Draws the dropout keys of one layer in the order of use; a recomputed layer draws the same ones again. */
export class DropoutSites {
  readonly #seed: number | undefined;
  #site: number;

  constructor(options: ForwardOptions, layer: number) {
    this.#seed = options.dropoutSeed;
    this.#site = layer * sitesPerLayer;
  }

  /** The probability to use: 0 when not training. */
  rate(probability: number): number {
    return this.#seed === undefined ? 0 : probability;
  }

  next(): DropoutKey {
    return { seed: this.#seed ?? 0, offset: this.#site++ * 2 ** 32 };
  }
}

/** Runs one layer, with or without keeping its activations. */
export function runLayer(
  options: ForwardOptions,
  body: (...inputs: Tensor[]) => Tensor,
  inputs: Tensor[],
): Tensor {
  return options.recomputeLayers ? checkpoint(body, inputs) : body(...inputs);
}
