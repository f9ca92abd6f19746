// Rounds a weight to int4 for the inputs that it will meet: GPTQ (Frantar et al. 2022, arXiv 2210.17323). What one
// input's weights lose to rounding is made up for, as far as the inputs are correlated, by those still to be rounded.
import { aten, cat, nn, noGrad, scope, type Tensor } from '@openplug/torch';
import { CheckpointError } from '../errors.js';

/** Share of the mean of the Hessian's diagonal that is added to it, as published: the inputs seen are a sample. */
const dampening = 0.01;

/** Bytes of what `gptqRound` holds at most: four float64 [in, in], three [out, in]. */
export function gptqBytes([outFeatures, inFeatures]: readonly number[]): number {
  return 8 * inFeatures! * (4 * inFeatures! + 3 * outFeatures!);
}

/**
 * Weights Ŵ of int4 for which tr((W − Ŵ)·H·(W − Ŵ)ᵀ), the squared error of the layer's outputs, is small. Input by
 * input, with H⁻¹ = UᵀU, U upper triangular: ŵⱼ = the nearest step, e = (wⱼ − ŵⱼ) / Uⱼⱼ, and wₖ −= e·Uⱼₖ for k > j.
 *
 * Scales are those that packing chooses for a group when its turn comes. A group whose largest weight has moved in the
 * meantime would be packed with another scale, so each goes through packing before the ones after it are corrected:
 * for any Ŵ of the group the errors are E = (W − Ŵ)·U⁻¹ over the group's block of U.
 * @param weight W [out, in], any float dtype
 * @param hessian H [in, in], 2·Σ x·xᵀ over inputs x, any float dtype; where it is all zeros, rounding is plain
 * @param name of the weight, for the error
 * @returns float32 [out, in], which packing as int4 keeps bit by bit; it is the plainly rounded W if H is diagonal
 * @throws CheckpointError when H is not finite
 */
export function gptqRound(weight: Tensor, hessian: Tensor, name = 'a layer'): Tensor {
  return noGrad(() =>
    scope(() => {
      const factor = inverseFactor(hessian, name);
      if (!factor) return throughInt4(weight);
      const inFeatures = weight.shape[1]!;
      const remaining = weight.to('float64').clone();
      const groups: Tensor[] = [];
      for (let start = 0; start < inFeatures; start += nn.groupSize) {
        const width = Math.min(nn.groupSize, inFeatures - start);
        groups.push(scope(() => roundGroup(remaining, factor, start, width)));
      }
      return cat(groups, 1);
    }),
  );
}

/** U of H⁻¹ = UᵀU, float64, of the dampened H; undefined when no input was seen. */
function inverseFactor(hessian: Tensor, name: string): Tensor | undefined {
  return scope(() => {
    const dampened = hessian.to('float64').clone();
    const diagonal = aten.diagonal(dampened);
    const mean = diagonal.mean().item();
    if (!Number.isFinite(mean))
      throw new CheckpointError(
        `The inputs of ${name} are not finite on the calibration text: the model itself gives NaN or infinity there.`,
      );
    if (mean === 0) return undefined;
    aten['add_.Scalar'](diagonal, dampening * mean);
    return aten.linalg_cholesky(aten.cholesky_inverse(aten.linalg_cholesky(dampened)), true);
  });
}

/** Rounds the inputs from `start` on, corrects `remaining` after them for it, and returns them as float32. */
function roundGroup(remaining: Tensor, factor: Tensor, start: number, width: number): Tensor {
  const weight = remaining.narrow(1, start, width);
  const rows = factor.narrow(0, start, width);
  const within = rows.narrow(1, start, width);
  const rounded = throughInt4(roundColumns(weight, within));
  const end = start + width;
  const rest = remaining.shape[1]! - end;
  if (rest > 0) {
    const errors = aten.linalg_solve_triangular(within, weight.sub(rounded.to('float64')), true, false);
    aten.addmm_(remaining.narrow(1, end, rest), errors, rows.narrow(1, end, rest), 1, -1);
  }
  return rounded;
}

/** One group [out, ≤ 64] rounded column by column, float64; `within` is its block of U. */
function roundColumns(weight: Tensor, within: Tensor): Tensor {
  const [outFeatures, width] = weight.shape as [number, number];
  const scale = nn.packLinear(weight, 'int4').tensors[1]!.reshape(-1).narrow(0, 0, outFeatures).to('float64');
  const inverse = aten.reciprocal(scale).maskedFill(scale.eq(0), 0);
  const shares = within.div(aten.diagonal(within).unsqueeze(1));
  const rounded = weight.clone();
  for (let at = 0; at < width; at++)
    scope(() => {
      const column = rounded.select(1, at);
      const nearest = aten.clamp(aten.round(column.mul(inverse)), -8, 7).mul(scale);
      const after = width - at - 1;
      if (after > 0)
        aten.addr_(
          rounded.narrow(1, at + 1, after),
          column.sub(nearest),
          shares.select(0, at).narrow(0, at + 1, after),
          1,
          -1,
        );
      column.copy_(nearest);
    });
  return rounded;
}

/** What packing makes of a weight [out, in]: float32. */
function throughInt4(weight: Tensor): Tensor {
  return nn.unpackLinear(nn.packLinear(weight, 'int4'), weight.shape[1]!);
}
