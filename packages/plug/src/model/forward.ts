// What a forward pass is told besides its inputs: precision, dropout, recomputation.
import type { DropoutKey, DType, nn, Tensor } from '@openplug/torch';
import { checkpoint, scope } from '@openplug/torch';

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

/** Inference with weights packed in a precision; in fp32 without one. */
export function inferenceIn(precision: nn.Precision | undefined): ForwardOptions {
  // Next to weights of 8 bits or less fp32 keys and values would be a good part of what a step of decoding reads.
  return precision === 'int8' || precision === 'int4'
    ? { computeDType: 'float32', cacheDType: 'bfloat16' }
    : { computeDType: precision ?? 'float32' };
}

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
    return this.#key(this.#site++);
  }

  /** The key of an adapter, whose place among all adapters of the model is its own: past those of the model's layers. */
  adapter(index: number): DropoutKey {
    return this.#key(firstAdapterSite + index);
  }

  #key(site: number): DropoutKey {
    return { seed: this.#seed ?? 0, offset: site * 2 ** 32 };
  }
}

const firstAdapterSite = 2 ** 16;

/** A layer of a stack: its input and what all layers share → its output, in the shape of the input. */
export type StackedLayer = (x: Tensor, ...shared: Tensor[]) => Tensor;

/**
 * Runs layers one after another, with or without keeping their activations. Handles are let go of as soon as a layer has
 * run: what the backward pass needs lives in the graph until that has used it, and all else is free at once.
 * @returns the last layer's output; `embedded` itself when there are no layers
 */
export function runLayers(
  options: ForwardOptions,
  layers: readonly StackedLayer[],
  embedded: Tensor,
  ...shared: Tensor[]
): Tensor {
  let x = embedded;
  for (const layer of layers) {
    const body = (...inputs: Tensor[]): Tensor => scope(() => layer(...(inputs as [Tensor, ...Tensor[]])));
    const next = options.recomputeLayers ? checkpoint(body, [x, ...shared]) : body(x, ...shared);
    if (x !== embedded) x.dispose();
    x = next;
  }
  return x;
}
