// The loss of classification and its variants.
import { nn, type Tensor } from '@openplug/torch';

/** Variants that are turned on by a number above 0. */
export interface ClassificationLossOptions {
  /** Share of the target spread over all labels (Szegedy et al. 2016, arXiv 1512.00567). */
  labelSmoothing: number;
  /** Weight of the divergence between two passes (R-Drop: Liang et al. 2021, arXiv 2106.14448). */
  rDrop: number;
}

/**
 * Cross-entropy of logits [B, C]; (1 − ε) of it and ε of the mean −ln p over all labels, with smoothing.
 * @returns one element
 */
export function smoothedCrossEntropy(logits: Tensor, labels: Tensor, smoothing: number): Tensor {
  const loss = nn.crossEntropy(logits, labels);
  if (smoothing === 0) return loss;
  const uniform = fullPrecision(logits).logSoftmax(-1).mean().neg();
  return loss.mul(1 - smoothing).add(uniform.mul(smoothing));
}

/** ½ (KL(p ‖ q) + KL(q ‖ p)) of the softmax of two [B, C], the mean over rows. */
export function symmetricDivergence(first: Tensor, second: Tensor): Tensor {
  const [p, q] = [first, second].map((logits) => fullPrecision(logits).logSoftmax(-1)) as [Tensor, Tensor];
  const [rows] = first.shape;
  // Σ (p − q)(ln p − ln q) is the sum of both divergences.
  return p
    .exp()
    .sub(q.exp())
    .mul(p.sub(q))
    .sum()
    .div(2 * rows!);
}

function fullPrecision(logits: Tensor): Tensor {
  return logits.dtype === 'float64' ? logits : logits.to('float32');
}
