// Adversarial training by the fast gradient method (Miyato et al. 2017, arXiv 1605.07725): each micro-batch is trained on
// a second time, with the word embeddings moved a fixed distance in the direction that raises its loss most.
import { noGrad, scope, type Tensor } from '@openplug/torch';

/**
 * Adds the gradients of the moved embeddings to those of the plain ones.
 * @param table the embeddings
 * @param distance L2 norm of the move
 * @param plain computes the gradients of the micro-batch
 * @param again computes them once more, for the same micro-batch
 */
export function withAdversary(table: Tensor, distance: number, plain: () => void, again: () => void): void {
  using before = copyOf(table.grad);
  plain();
  using move = scope(() => {
    const gradient = table.grad;
    if (!gradient) return undefined;
    const own = before ? gradient.sub(before) : gradient;
    const norm = Math.sqrt(own.mul(own).sum().item());
    return norm > 0 ? own.mul(distance / norm) : undefined;
  });
  if (!move) return;
  using original = noGrad(() => table.clone());
  noGrad(() => scope(() => void table.copy_(original.add(move))));
  try {
    again();
  } finally {
    noGrad(() => table.copy_(original));
  }
}

function copyOf(gradient: Tensor | undefined): Tensor | undefined {
  using original = gradient;
  return original?.clone();
}
