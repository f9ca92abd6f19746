// The layers that everything is made of. What differs between training, precisions and quantisation is how linear
// layers are made; the forward pass does not know.
import { aten, type DType, nn, prefetch, type Tensor } from '@openplug/torch';
import type { DropoutSites } from './forward.js';
import type { LoraSettings } from './lora.js';
import type { ParameterScope } from './parameters.js';

/** gelu in its exact erf form, or by tanh as in Hendrycks and Gimpel 2016 (arXiv 1606.08415) and `gelu_new`. */
export type Activation = 'gelu' | 'gelu_new';

/** An affine map over the last dimension. */
export interface Linear {
  /**
   * [N, in] → [N, out], in the dtype of `x`; with an activation on the result if asked.
   * @param sites keys of dropout inside the layer, which adapters have. Default: none is dropped.
   */
  forward(x: Tensor, activation?: Activation, sites?: DropoutSites): Tensor;
  /** Has the weight read from disk in the background, if that is where it is. */
  prefetch?(): void;
}

/** x·weightᵀ + bias: [N, in] → [N, out]. */
export type Product = (x: Tensor, bias?: Tensor) => Tensor;

/** Makes linear layers, and the tables whose rows are looked up. */
export interface LinearLayers {
  /** How the weights are packed for inference; absent from layers that can be trained and saved. */
  readonly precision?: nn.Precision;
  /** Whether a parameter is trained. Default: all of layers without a precision. */
  trains?(name: string): boolean;
  /** Dtype that weights of linear layers which are not trained are held in. Default: the other parameters'. */
  readonly frozenDType?: DType;
  /** The adapters beside these layers, if there are any. */
  readonly lora?: LoraSettings;
  /** A layer with a bias, of the parameters `weight` [out, in] and `bias` [out] in `scope`. */
  linear(scope: ParameterScope, inputSize: number, outputSize: number, std: number): Linear;
  /** The parameter `weight` [rows, width] in `scope`. */
  table(scope: ParameterScope, rows: number, width: number, std: number): Tensor;
  /** The product with a table, which files may hold a second time as the parameter `name` of `scope`. */
  tied(scope: ParameterScope, name: string, table: Tensor): Product;
  /** A linear layer that files hold and nothing computes with. */
  unused(scope: ParameterScope, inputSize: number, outputSize: number, std: number): void;
}

/** The gelu by tanh, where that is asked for. */
export function byTanh(activation: Activation | undefined, x: Tensor): Tensor {
  return activation === 'gelu_new' ? aten.gelu(x, 'tanh') : x;
}

function makeParameters(scope: ParameterScope, inputSize: number, outputSize: number, std: number) {
  const weight = scope.get('weight', [outputSize, inputSize], { std });
  const bias = scope.get('bias', [outputSize], 'zeros');
  return { weight, bias };
}

/** Layers that can be trained and saved: weights as they were given, cast to the compute dtype at each call. */
export const trainableLayers: LinearLayers = {
  linear(scope, inputSize, outputSize, std) {
    const { weight, bias } = makeParameters(scope, inputSize, outputSize, std);
    return {
      forward(x, activation) {
        if (activation === 'gelu') return nn.biasGelu(nn.linear(x, weight), bias);
        return byTanh(activation, nn.linear(x, weight, bias));
      },
    };
  },
  table: (scope, rows, width, std) => scope.get('weight', [rows, width], { std }),
  tied: (_, _name, table) => (x, bias) => nn.linear(x, table, bias),
  unused: (...layer) => void makeParameters(...layer),
};

function packedLinear(weight: nn.PackedWeight, bias: Tensor): Linear {
  return {
    forward(x, activation) {
      const fused = activation === 'gelu' ? activation : undefined;
      return byTanh(activation, nn.packedLinear(x, weight, bias, fused));
    },
    prefetch: () => {
      for (const part of weight.tensors) prefetch(part);
    },
  };
}

/** What layers for inference have in common: tables stay where they are stored, and what is unused is not kept. */
const inferenceTables: Pick<LinearLayers, 'table' | 'unused'> = {
  table: (scope, rows, width, std) => scope.hold('weight', [rows, width], { std }),
  unused(scope, inputSize, outputSize, std) {
    scope.borrow('weight', [outputSize, inputSize], { std }).dispose();
    scope.borrow('bias', [outputSize], 'zeros').dispose();
  },
};

/**
 * How the output embedding is packed. It decides which token is written and is a small part of a large model: it keeps
 * 8 bits or more.
 */
export function tiedPrecision(precision: nn.Precision): nn.Precision {
  return precision === 'int4' ? 'int8' : precision;
}

/** Layers for inference, their weights packed for fast products while the model is loaded. */
export function packedLayers(precision: nn.Precision): LinearLayers {
  return {
    ...inferenceTables,
    precision,
    linear(scope, inputSize, outputSize, std) {
      using weight = scope.borrow('weight', [outputSize, inputSize], { std });
      const packed = scope.own(nn.packLinear(weight, precision));
      return packedLinear(packed, scope.get('bias', [outputSize], 'zeros'));
    },
    tied(scope, _, table) {
      const packed = scope.own(nn.packLinear(table, tiedPrecision(precision)));
      return (x, bias) => nn.packedLinear(x, packed, bias);
    },
  };
}

/**
 * Layers for inference whose weights were packed before they were stored, and are used where they are stored: of the
 * tensors `weight_packed`, … instead of `weight`.
 */
export function storedLayers(precision: nn.Precision): LinearLayers {
  const stored = (
    scope: ParameterScope,
    name: string,
    [outputSize, inputSize]: [number, number],
    packing: nn.Precision,
  ): nn.PackedWeight => {
    const parts = nn
      .packedShapes(outputSize, inputSize, packing)
      .map(({ suffix, shape }) => scope.borrow(packedName(name, suffix), shape, 'zeros'));
    return scope.own(nn.packedFrom(parts, outputSize, packing));
  };
  return {
    ...inferenceTables,
    precision,
    linear(scope, inputSize, outputSize) {
      const weight = stored(scope, 'weight', [outputSize, inputSize], precision);
      return packedLinear(weight, scope.get('bias', [outputSize], 'zeros'));
    },
    tied(scope, name, table) {
      const weight = stored(scope, name, table.shape as [number, number], tiedPrecision(precision));
      return (x, bias) => nn.packedLinear(x, weight, bias);
    },
  };
}

/** The name of one of the tensors that a packed weight consists of: `weight` → `weight_scale`. */
export function packedName(name: string, suffix: string): string {
  return `${name}_${suffix}`;
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
