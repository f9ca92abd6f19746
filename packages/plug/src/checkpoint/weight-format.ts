// How the weights of a model folder are stored: plainly in one dtype, or packed for inference, to be memory-mapped and
// multiplied where they lie. A packed folder says so in `config.json`, in the field `quantization_config`.
import { bytesPerElement, type DType, nn, scope, type Tensor, type TensorInfo } from '@openplug/torch';
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import {
  listParameters,
  type ParameterInfo,
  type PlugConfig,
  packedName,
  tiedPrecision,
} from '../model/index.js';
import type { TensorSource } from './tensor-source.js';

/** Dtypes of plain weights, which can be trained, exported and packed. */
export const plainDTypes = ['float32', 'float16', 'bfloat16'] as const;
export type PlainDType = (typeof plainDTypes)[number];

/** Precisions in which weights can be stored packed. */
export const storedPrecisions = ['int4', 'int8', 'bfloat16'] as const;
export type StoredPrecision = (typeof storedPrecisions)[number];

export type WeightFormat = { readonly dtype: PlainDType } | { readonly precision: StoredPrecision };

/** Of embeddings and unused weights in a packed folder; biases and norms are in float32. */
const tableDType: DType = 'bfloat16';

/** Tables that are also multiplied by, each with the name under which its packed copy stands beside it. */
function multipliedTables({ decEmbeddings, decHiddenLayers }: PlugConfig): (readonly [string, string])[] {
  const encoder = ['bert.embeddings.word_embeddings.weight', tiedName] as const;
  const decoder = ['decoder.embeddings.weight', 'decoder.generator.weight'] as const;
  return decEmbeddings === 'sinusoidal' && decHiddenLayers > 0 ? [encoder, decoder] : [encoder];
}

/** The output embedding under its published name; it is the word embedding. */
export const tiedName = 'cls.predictions.decoder_weight';

/** What `config.json` says of packed weights. */
const quantizationSchema = z.strictObject({
  quant_method: z.literal('openplug'),
  format_version: z.literal(1),
  precision: z.enum(storedPrecisions),
});

/** The field `quantization_config` of `config.json`. */
export function quantizationToJson(precision: StoredPrecision): z.output<typeof quantizationSchema> {
  return { quant_method: 'openplug', format_version: 1, precision };
}

/** The precision in which a folder's weights are packed; undefined when they are plain. @throws ConfigError */
export function parseQuantization(config: object, where: string): StoredPrecision | undefined {
  const { quantization_config: field } = config as { quantization_config?: unknown };
  if (field === undefined) return undefined;
  const checked = quantizationSchema.safeParse(field);
  if (checked.success) return checked.data.precision;
  throw new ConfigError(
    `${where}: "quantization_config" is ${JSON.stringify(field)}, which is not a way in which OpenPLUG stores ` +
      `weights (${JSON.stringify(quantizationToJson('int4'))}). Was the folder made by another program or a newer version?`,
  );
}

/** Some tensors of a file that are made of one parameter. */
export interface Piece {
  /** The parameter, and how many elements it has. */
  readonly parameter: string;
  readonly tensors: readonly (readonly [name: string, info: TensorInfo])[];
  /** Makes them of the parameter as it is given, in the order of `tensors`. */
  make(parameter: Tensor): Tensor[];
}

/** What a folder of this format holds for this configuration, in the order in which it is stored. */
export function piecesOf(config: PlugConfig, format: WeightFormat): Piece[] {
  const parameters = listParameters(config);
  if ('dtype' in format) return parameters.map((parameter) => plain(parameter, format.dtype));
  const { precision } = format;
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  return [
    ...parameters.map((parameter) =>
      parameter.role === 'linear'
        ? packed(parameter, parameter.name, precision)
        : plain(parameter, parameter.shape.length === 2 ? tableDType : 'float32'),
    ),
    ...multipliedTables(config).map(([table, copy]) =>
      packed(byName.get(table)!, copy, tiedPrecision(precision)),
    ),
  ];
}

function plain({ name, shape }: ParameterInfo, dtype: DType): Piece {
  return {
    parameter: name,
    tensors: [[name, { dtype, shape }]],
    make: (parameter) => [parameter.to(dtype)],
  };
}

function packed({ name: parameter, shape }: ParameterInfo, name: string, precision: nn.Precision): Piece {
  const [outFeatures, inFeatures] = shape as [number, number];
  return {
    parameter,
    tensors: nn
      .packedShapes(outFeatures, inFeatures, precision)
      .map(({ suffix, dtype, shape: size }) => [packedName(name, suffix), { dtype, shape: size }]),
    make: (weight) => [...nn.packLinear(weight, precision).tensors],
  };
}

/** Bytes of a tensor. */
export function bytesOf({ dtype, shape }: TensorInfo): number {
  return shape.reduce((product, size) => product * size, bytesPerElement[dtype]);
}

/** A piece's tensors from where the parameter is; the caller disposes of them. */
export function makePiece(piece: Piece, weights: TensorSource): Tensor[] {
  return scope(() => {
    const parameter = weights.tensor(piece.parameter);
    return piece.make(parameter);
  });
}
