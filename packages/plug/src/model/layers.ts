// The two layers that everything is made of. What differs between precisions, quantisation and parallel runs is
// behind `Linear`; the forward pass does not know.
import { type DType, nn, type Tensor } from '@openplug/torch';
import type { ParameterScope } from './parameters.js';

/** An affine map over the last dimension. */
export interface Linear {
  /** [N, in] → [N, out], in the dtype of `x`; with gelu (exact erf form) on the result if asked. */
  forward(x: Tensor, activation?: 'gelu'): Tensor;
}

/** A dense linear layer with a bias: `weight` [out, in], `bias` [out]. */
export function denseLinear(
  scope: ParameterScope,
  inputSize: number,
  outputSize: number,
  std: number,
): Linear {
  const weight = scope.get('weight', [outputSize, inputSize], { std });
  const bias = scope.get('bias', [outputSize], 'zeros');
  return {
    forward: (x, activation) =>
      activation === 'gelu' ? nn.biasGelu(nn.linear(x, weight), bias) : nn.linear(x, weight, bias),
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
