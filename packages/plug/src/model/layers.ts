// The layers that everything is made of. What differs between training, precisions and quantisation is how linear
// layers are made; the forward pass does not know.
import { type DType, nn, type Tensor } from '@openplug/torch';
import type { ParameterScope } from './parameters.js';

/** An affine map over the last dimension. */
export interface Linear {
  /** [N, in] → [N, out], in the dtype of `x`; with gelu (exact erf form) on the result if asked. */
  forward(x: Tensor, activation?: 'gelu'): Tensor;
}

/** Makes linear layers. */
export interface LinearLayers {
  /** A layer with a bias, of the parameters `weight` [out, in] and `bias` [out] in `scope`. */
  linear(scope: ParameterScope, inputSize: number, outputSize: number, std: number): Linear;
  /** x·weightᵀ for a weight that belongs to another part (the tied word embedding): [N, in] → [N, out]. */
  shared(scope: ParameterScope, weight: Tensor): (x: Tensor, bias?: Tensor) => Tensor;
}

/** Layers that can be trained and saved: weights as they were given, cast to the compute dtype at each call. */
export const trainableLayers: LinearLayers = {
  linear(scope, inputSize, outputSize, std) {
    const weight = scope.get('weight', [outputSize, inputSize], { std });
    const bias = scope.get('bias', [outputSize], 'zeros');
    return {
      forward: (x, activation) =>
        activation === 'gelu' ? nn.biasGelu(nn.linear(x, weight), bias) : nn.linear(x, weight, bias),
    };
  },
  shared: (_, weight) => (x, bias) => nn.linear(x, weight, bias),
};

/** Layers for inference, their weights packed for fast products. */
export function packedLayers(precision: nn.Precision): LinearLayers {
  return {
    linear(scope, inputSize, outputSize, std) {
      using weight = scope.borrow('weight', [outputSize, inputSize], { std });
      const packed = scope.own(nn.packLinear(weight, precision));
      const bias = scope.get('bias', [outputSize], 'zeros');
      return { forward: (x, activation) => nn.packedLinear(x, packed, bias, activation) };
    },
    shared(scope, weight) {
      const packed = scope.own(nn.packLinear(weight, precision));
      return (x, bias) => nn.packedLinear(x, packed, bias);
    },
  };
}

/** Layer normalisation with its own weight and bias [E]. */
export interface LayerNorm {
  /** @param dtype of the result; default: the parameters' */
  forward(x: Tensor, dtype?: DType): Tensor;
}

export function layerNorm(scope: ParameterScope, hiddenSize: number, eps: number): LayerNorm {
  const weight = scope.get('weight', [hiddenSize], 'ones');
  const bias = scope.get('bias', [hiddenSize], 'zeros');
  return { forward: (x, dtype) => nn.layerNorm(x, weight, bias, eps, dtype) };
}
