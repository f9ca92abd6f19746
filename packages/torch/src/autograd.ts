// Automatic differentiation: the backward pass, switching it off, and functions with a backward of their own.
import { native, type TensorHandle } from './native.js';
import { scope } from './scope.js';
import { Tensor } from './tensor.js';

/**
 * Accumulates into `grad` of every leaf that `loss` depends on.
 * @param gradient the gradient of the loss itself; needed unless it has one element.
 */
export function backward(
  loss: Tensor | readonly Tensor[],
  gradient?: Tensor | readonly Tensor[],
  retainGraph = false,
): void {
  const handles = (value: Tensor | readonly Tensor[]): TensorHandle[] =>
    (value instanceof Tensor ? [value] : value).map((item) => item.handle);
  native.backward(handles(loss), gradient && handles(gradient), retainGraph);
}

/** Runs `body` without recording operations for the backward pass. */
export function noGrad<Result>(body: () => Result): Result {
  return withGradMode(false, body);
}

/** Runs `body` recording operations, also inside `noGrad`. */
export function enableGrad<Result>(body: () => Result): Result {
  return withGradMode(true, body);
}

function withGradMode<Result>(enabled: boolean, body: () => Result): Result {
  const before = native.setGradEnabled(enabled);
  try {
    return body();
  } finally {
    native.setGradEnabled(before);
  }
}

/** A differentiable function written in TypeScript. */
export interface CustomFunction<Saved> {
  /** Computes outputs (new tensors: no inputs, no views) and what the backward pass needs. Runs without recording. */
  forward(...inputs: Tensor[]): { outputs: Tensor[]; saved: Saved };
  /**
   * Given the gradient of each output (undefined where nothing depends on it), returns one gradient for each
   * input, or undefined where there is none.
   */
  backward(saved: Saved, gradients: (Tensor | undefined)[]): (Tensor | undefined)[];
}

/**
 * Applies `definition` to `inputs`. Its backward runs on the thread that called it, and only there. Tensors in
 * `saved` must live until the backward pass.
 */
export function customFunction<Saved>(
  definition: CustomFunction<Saved>,
  inputs: readonly Tensor[],
): Tensor[] {
  const { outputs, saved } = noGrad(() => definition.forward(...inputs));
  const recording = native.setGradEnabled(true);
  native.setGradEnabled(recording);
  if (recording && inputs.some((input) => input.requiresGrad)) {
    native.attachBackward(
      inputs.map((input) => input.handle),
      outputs.map((output) => output.handle),
      (...gradients) =>
        scope(() => {
          const given = definition.backward(
            saved,
            gradients.map((handle) => handle && new Tensor(handle)),
          );
          return given.map((tensor) => tensor && native.alias(tensor.handle));
        }),
    );
  }
  return outputs;
}

/**
 * Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): runs `body` without keeping its intermediate
 * results and computes them again in the backward pass. `body` must give the same result both times, and may use
 * parameters that are not among `inputs`; their gradients are accumulated as usual.
 */
export function checkpoint(body: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]): Tensor {
  const [output] = customFunction<Tensor[]>(
    {
      forward: (...given) => ({
        outputs: [scope(() => body(...given))],
        saved: given.map((input) => input.detach()),
      }),
      backward(saved, [gradient]) {
        const leaves = saved.map((input, index) => {
          const leaf = input.detach();
          leaf.requiresGrad = inputs[index]!.requiresGrad;
          return leaf;
        });
        enableGrad(() => backward(body(...leaves), gradient));
        return leaves.map((leaf) => leaf.grad);
      },
    },
    inputs,
  );
  return output!;
}
