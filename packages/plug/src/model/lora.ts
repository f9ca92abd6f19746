// LoRA (Hu et al. 2021, arXiv 2106.09685): each linear layer keeps its weight and learns a product of two narrow
// matrices beside it, y = W x + b + α/r · B A x. B starts at zero, so the model starts as it was.
import { aten, type DType, nn, type Tensor } from '@openplug/torch';
import { ConfigError } from '../errors.js';
import type { PlugConfig } from './config.js';
import { byTanh, type Linear, type LinearLayers, trainableLayers } from './layers.js';
import { listParameters } from './parameter-list.js';
import type { ParameterScope } from './parameters.js';

/** Which layers are adapted, and how. */
export interface LoraSettings {
  /** Width r of the two matrices. */
  rank: number;
  /** Their product is scaled by alpha / rank. */
  alpha: number;
  /** Ends of the names of adapted layers, `query_key_value` or `output.dense`; empty: all linear layers. */
  targets: readonly string[];
  /** Share of an adapter's inputs that is dropped in training. Default 0. */
  dropout?: number;
  /** Folder of the model that is adapted. */
  base: string;
}

/** What the names of adapter tensors begin with, as PEFT writes them. */
export const adapterPrefix = 'base_model.model.';

/** Whether a parameter belongs to an adapter. */
export function isAdapter(name: string): boolean {
  return name.startsWith(adapterPrefix);
}

/**
 * Layers of which only the adapters are trained. Weights of linear layers are held in the dtype that they compute in,
 * which rounds them no more than a cast at each call would.
 * @throws ConfigError when no layer of the model has the name of a target (by `checkTargets`, once the model is built)
 */
export class LoraLayers implements LinearLayers {
  readonly lora: LoraSettings;
  readonly frozenDType: DType;
  readonly #met = new Set<string>();
  readonly #names: string[] = [];

  constructor(lora: LoraSettings, dtype: DType) {
    this.lora = lora;
    this.frozenDType = dtype;
  }

  trains = isAdapter;
  table = trainableLayers.table;
  tied = trainableLayers.tied;
  unused = trainableLayers.unused;

  linear(scope: ParameterScope, inputSize: number, outputSize: number, std: number): Linear {
    const name = scope.nameOf('').slice(0, -1);
    this.#names.push(name);
    const weight = scope.frozen('weight', [outputSize, inputSize], { std }, this.frozenDType);
    const bias = scope.get('bias', [outputSize], 'zeros');
    const target = this.lora.targets.find((end) => isTarget(name, end));
    if (this.lora.targets.length > 0 && target === undefined)
      return {
        forward: (x, activation) => activated(nn.linear(x, weight), bias, activation),
      };
    if (target !== undefined) this.#met.add(target);
    const adapters = scope.under(adapterPrefix);
    // The variance of PEFT's initialisation, uniform in ±1/√in.
    const down = adapters.in('lora_A').get('weight', [this.lora.rank, inputSize], {
      std: 1 / Math.sqrt(3 * inputSize),
    });
    const up = adapters.in('lora_B').get('weight', [outputSize, this.lora.rank], 'zeros');
    const { alpha, rank, dropout = 0 } = this.lora;
    const scale = alpha / rank;
    const index = this.#names.length;
    return {
      forward(x, activation, sites) {
        const rate = sites?.rate(dropout) ?? 0;
        const kept = rate > 0 ? nn.dropout(x, rate, sites!.adapter(index)) : x;
        const learned = nn.linear(nn.linear(kept, down), up).mul(scale);
        return activated(nn.linear(x, weight).add(learned), bias, activation);
      },
    };
  }

  /** @throws ConfigError naming a target that no layer has */
  checkTargets(): void {
    const absent = this.lora.targets.find((target) => !this.#met.has(target));
    if (absent === undefined) return;
    const ends = [
      ...new Set(this.#names.map((name) => name.replace(/^.*layer\.\d+\.|^.*layers\.\d+\./, ''))),
    ];
    throw new ConfigError(`No linear layer's name ends with "${absent}". There are: ${ends.join(', ')}.`);
  }
}

function isTarget(name: string, end: string): boolean {
  return name === end || name.endsWith(`.${end}`);
}

/** Parameters of all adapters of a model. */
export function countAdapters(
  config: PlugConfig,
  { rank, targets }: Pick<LoraSettings, 'rank' | 'targets'>,
): number {
  const adapted = listParameters(config).filter(
    ({ name, role }) =>
      role === 'linear' &&
      (targets.length === 0 || targets.some((end) => isTarget(name.replace(/\.weight$/, ''), end))),
  );
  return adapted.reduce((sum, { shape: [outputs, inputs] }) => sum + rank * (outputs! + inputs!), 0);
}

function activated(x: Tensor, bias: Tensor, activation: Parameters<Linear['forward']>[1]): Tensor {
  if (activation === 'gelu') return nn.biasGelu(x, bias);
  return byTanh(activation, x.add(bias.to(x.dtype)));
}

/** α/r · B A, what the adapter adds to a weight [out, in]; in the dtype of the adapter. */
export function adapterProduct(
  up: Tensor,
  down: Tensor,
  { alpha, rank }: Pick<LoraSettings, 'alpha' | 'rank'>,
): Tensor {
  return aten.matmul(up, down).mul(alpha / rank);
}

/** Layers of which nothing is trained: for a head alone. */
export const frozenLayers: LinearLayers = { ...trainableLayers, trains: () => false };
