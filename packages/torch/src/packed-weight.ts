// Weights packed for inference products, and the plain tensors that they consist of: a file can hold those, and be
// mapped into memory and multiplied in place. The layout (native/kernels/packed/tile.h) is the same on every CPU.
import { aten } from './aten.js';
import { cat } from './create.js';
import { ShapeError } from './errors.js';
import type { DType } from './native.js';
import { scope } from './scope.js';
import { callOperator, type Tensor } from './tensor.js';

/**
 * How packed weights are stored, and multiplied: int8 and int4 by activations that are quantised to int8 row by row.
 * Bytes a weight: 4, 2, 1 and 0.53.
 */
export type Precision = 'float32' | 'bfloat16' | 'int8' | 'int4';

/** A weight [out, in] that is ready to be multiplied. */
export interface PackedWeight {
  /** What holds it, as `packedShapes` lists it; dispose of these. */
  readonly tensors: readonly Tensor[];
  readonly precision: Precision;
  readonly outFeatures: number;
}

/** One of the tensors that a packed weight consists of. */
export interface PackedShape {
  /** Its name, the same for every size: 'packed' (the numbers), 'scale' or 'offset'. */
  readonly suffix: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Output features that are stored side by side. Blocks of so many rows can be packed apart and joined. */
export const panelWidth = 64;

/** int4: inputs that share a scale. */
export const groupSize = 64;

/** Inputs that share 32 bits. */
const inputsPerStep: Record<Precision, number> = { float32: 1, bfloat16: 2, int8: 4, int4: 8 };
const stepsPerGroup = groupSize / inputsPerStep.int4;

/**
 * The tensors that a packed weight [out, in] consists of, before there is one. Along their first dimension they join:
 * packing blocks of rows (of multiples of `panelWidth`) and concatenating each tensor is packing the whole.
 * @throws ShapeError when a size is not a positive integer
 */
export function packedShapes(outFeatures: number, inFeatures: number, precision: Precision): PackedShape[] {
  for (const [name, size] of Object.entries({ outFeatures, inFeatures }))
    if (!Number.isSafeInteger(size) || size < 1)
      throw new ShapeError(`A packed weight's ${name} must be a positive integer, got ${size}.`);
  const steps =
    precision === 'int4'
      ? Math.ceil(inFeatures / groupSize) * stepsPerGroup
      : Math.ceil(inFeatures / inputsPerStep[precision]);
  return shapesOf(outFeatures, steps, precision);
}

function shapesOf(outFeatures: number, steps: number, precision: Precision): PackedShape[] {
  const panels = Math.ceil(outFeatures / panelWidth);
  const packed: PackedShape = { suffix: 'packed', dtype: 'int32', shape: [panels, steps, panelWidth] };
  if (precision === 'int4')
    return [
      packed,
      { suffix: 'scale', dtype: 'bfloat16', shape: [panels, steps / stepsPerGroup, panelWidth] },
    ];
  if (precision !== 'int8') return [packed];
  return [
    packed,
    { suffix: 'scale', dtype: 'float32', shape: [outFeatures] },
    { suffix: 'offset', dtype: 'int32', shape: [outFeatures] },
  ];
}

/**
 * A packed weight of tensors that were stored; it owns them from now on. They are used where they are, without a copy.
 * @param tensors in the order of `packedShapes`
 * @throws ShapeError when there are too few or too many, or one has another shape or dtype than it must
 */
export function packedFrom(
  tensors: readonly Tensor[],
  outFeatures: number,
  precision: Precision,
): PackedWeight {
  const title = `A weight packed as ${precision} with ${outFeatures} output features`;
  const unit = precision === 'int4' ? stepsPerGroup : 1;
  const steps = Math.max(1, Math.floor((tensors[0]?.shape[1] ?? 0) / unit)) * unit;
  const expected = shapesOf(outFeatures, steps, precision);
  if (tensors.length !== expected.length)
    throw new ShapeError(
      `${title} consists of ${expected.length} tensors (${expected.map(({ suffix }) => suffix).join(', ')}), ` +
        `got ${tensors.length}.`,
    );
  for (const [i, { suffix, dtype, shape }] of expected.entries()) {
    const tensor = tensors[i]!;
    if (tensor.dtype !== dtype || tensor.shape.join() !== shape.join())
      throw new ShapeError(
        `${title}: its tensor "${suffix}" must be ${dtype} [${shape.join(', ')}], ` +
          `got ${tensor.dtype} [${tensor.shape.join(', ')}].`,
      );
  }
  return { tensors, precision, outFeatures };
}

/**
 * Packs a weight for `packedLinear`. int8: one scale for each output feature, the largest |weight| being 127. int4: one
 * for each group of 64 inputs, the best of several (native/kernels/packed/pack.cpp); numbers that int4 gave are kept.
 * @param weight [out, in]; float16 and bfloat16 are read as they are, without a float32 copy of the whole
 */
export function packLinear(weight: Tensor, precision: Precision): PackedWeight {
  const tensors = callOperator('openplug::pack_linear', weight, precision) as Tensor[];
  return { tensors, precision, outFeatures: weight.shape[0]! };
}

/**
 * The numbers that a packed weight stands for: those that were packed for float32, the same rounded for bfloat16, and
 * quantised ones for int8 (NaN in a feature that held NaN or infinity).
 * @param inFeatures what the weight had before it was filled up to whole steps
 * @returns float32 [out, in]
 * @throws ShapeError when a weight with so many inputs is packed otherwise
 */
export function unpackLinear({ tensors, precision, outFeatures }: PackedWeight, inFeatures: number): Tensor {
  const packed = tensors[0]!;
  const [panels, steps] = packed.shape as [number, number];
  const wanted = packedShapes(outFeatures, inFeatures, precision)[0]!.shape;
  if (packed.shape.join() !== wanted.join())
    throw new ShapeError(
      `A weight [${outFeatures}, ${inFeatures}] packed as ${precision} is [${wanted.join(', ')}], ` +
        `but this one is [${packed.shape.join(', ')}].`,
    );
  return scope(() => {
    const numbers =
      precision === 'int4'
        ? int4Numbers(packed, tensors[1]!)
        : aten['view.dtype'](packed, precision).reshape(panels, steps, panelWidth, -1);
    const rows = numbers
      .permute(0, 2, 1, 3)
      .reshape(panels * panelWidth, -1)
      .narrow(0, 0, outFeatures)
      .narrow(1, 0, inFeatures)
      .to('float32');
    return precision === 'int8' ? rows.mul(tensors[1]!.unsqueeze(1)) : rows.contiguous();
  });
}

/** [panels, steps, 64] and scales [panels, groups, 64] → the weights of each step, float32 [panels, steps, 64, 8] */
function int4Numbers(packed: Tensor, scale: Tensor): Tensor {
  const [panels, steps] = packed.shape as [number, number];
  const bytes = aten['view.dtype'](packed, 'uint8').reshape(panels, steps, panelWidth, 4);
  const halves = [aten['bitwise_and.Scalar'](bytes, 15), aten['bitwise_right_shift.Tensor_Scalar'](bytes, 4)];
  const scales = scale.unsqueeze(2).expand(panels, -1, stepsPerGroup, panelWidth).to('float32');
  return cat(halves, 3)
    .to('float32')
    .sub(8)
    .mul(scales.reshape(panels, steps, panelWidth, 1));
}

/**
 * x·Wᵀ + b, with gelu (exact erf form) on it if asked; without gradients. A row's result does not depend on the others.
 * @param x [..., in], float32 or bfloat16, the dtype of the result
 * @param bias [out]
 * @returns [..., out]
 */
export function packedLinear(x: Tensor, weight: PackedWeight, bias?: Tensor, activation?: 'gelu'): Tensor {
  const { tensors, precision, outFeatures } = weight;
  return callOperator(
    'openplug::packed_linear',
    x,
    tensors,
    precision,
    outFeatures,
    bias,
    activation === 'gelu',
    x.dtype,
  ) as Tensor;
}
