// Automatic differentiation: the backward pass, switching it off, and functions with a backward of their own.
import { aten } from './aten.js';
import { NativeError } from './errors.js';
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
 * `saved`, also inside arrays and plain objects, live as long as the graph does, whatever becomes of the handles;
 * the backward gets fresh ones, which are disposed of when it returns.
 * @throws NativeError when an output is an input or a view, or, out of `backward`, when the number or the shapes of
 * the gradients are wrong. What a backward throws comes out of `backward` unchanged.
 */
export function customFunction<Saved>(
  definition: CustomFunction<Saved>,
  inputs: readonly Tensor[],
): Tensor[] {
  const { outputs, saved } = noGrad(() => definition.forward(...inputs));
  const recording = native.setGradEnabled(true);
  native.setGradEnabled(recording);
  if (!recording || !inputs.some((input) => input.requiresGrad)) return outputs;
  const savedHandles: TensorHandle[] = [];
  const savedSlots = mapLeaves(saved, (leaf) =>
    leaf instanceof Tensor ? new SavedSlot(savedHandles.push(leaf.handle) - 1) : leaf,
  );
  native.attachBackward(
    inputs.map((input) => input.handle),
    outputs.map((output) => output.handle),
    savedHandles,
    (gradients, handles) =>
      scope(() => {
        const tensors = handles.map((handle) => new Tensor(handle));
        const given = definition.backward(
          mapLeaves(savedSlots, (leaf) => (leaf instanceof SavedSlot ? tensors[leaf.index] : leaf)) as Saved,
          gradients.map((handle) => handle && new Tensor(handle)),
        );
        if (given.length !== inputs.length)
          throw new NativeError(
            `customFunction: backward returned ${given.length} gradients for ${inputs.length} inputs; return ` +
              'undefined for an input without one.',
          );
        return given.map((tensor) => tensor && native.alias(tensor.handle));
      }),
  );
  return outputs;
}

/** Stands for a saved tensor that the graph holds. */
class SavedSlot {
  constructor(readonly index: number) {}
}

/** A copy of nested arrays and plain objects with `replace` applied to everything else. */
function mapLeaves(value: unknown, replace: (leaf: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => mapLeaves(item, replace));
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapLeaves(item, replace)]));
  return replace(value);
}

/**
 * Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): runs `body` without keeping its intermediate
 * results and computes them again in the backward pass. `body` must give the same result both times, and may use
 * parameters that are not among `inputs`; their gradients are accumulated as usual. When no input requires a
 * gradient, `body` simply runs, keeping what it must. Checkpoints may nest, up to 60 deep.
 */
export function checkpoint(body: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]): Tensor {
  const needed = inputs.map((input) => input.requiresGrad);
  if (!needed.includes(true)) return body(...inputs); // no backward would reach this place
  const [output] = customFunction<Tensor[]>(
    {
      // The result may be a view; the graph wants a tensor of its own, on the same memory.
      forward(...given) {
        const output = scope(() => {
          const result = body(...given);
          return aten._unsafe_view(result, result.shape);
        });
        return { outputs: [output], saved: given };
      },
      backward(saved, [gradient]) {
        saved.forEach((leaf, index) => {
          leaf.requiresGrad = needed[index]!;
        });
        enableGrad(() => backward(body(...saved), gradient));
        return saved.map((leaf) => leaf.grad);
      },
    },
    inputs,
  );
  return output!;
}
