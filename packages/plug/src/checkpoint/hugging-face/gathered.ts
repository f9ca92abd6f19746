// Parameters under our names that are made of another layout's tensors when they are read: renamed, stacked, or new.
import { aten, cat, scope, type Tensor, type TensorInfo } from '@openplug/torch';
import { CheckpointError } from '../../errors.js';
import { listParameters, newParameters, type ParameterInfo, type PlugConfig } from '../../model/index.js';
import type { TensorSource } from '../tensor-source.js';

/** A tensor that is made when it is asked for. */
interface DerivedTensor extends TensorInfo {
  make(): Tensor;
}

const floatingDTypes = new Set(['float64', 'float32', 'float16', 'bfloat16']);

/**
 * The parameters of a configuration that `weights` are to hold.
 * @throws CheckpointError when it has more layers than the file tensors, so that a wrong number costs no memory
 */
export function parametersFor(config: PlugConfig, weights: TensorSource): ParameterInfo[] {
  const layers = config.numHiddenLayers + config.decHiddenLayers;
  const { length } = weights.names();
  if (layers > length)
    throw new CheckpointError(
      `${weights.path} holds ${length} tensors, too few for the ${layers} layers of the configuration.`,
    );
  return listParameters(config);
}

/** Collects the parameters of a model from `source`; every shape is checked when a parameter is added. */
export class GatheredTensors {
  readonly #source: TensorSource;
  readonly #made = new Map<string, DerivedTensor>();
  readonly #used = new Set<string>();

  constructor(source: TensorSource) {
    this.#source = source;
  }

  /**
   * The parameter is `parts` one below another, each an equal share of its rows.
   * @throws CheckpointError naming the part that is missing, misshapen, no number, or of another dtype than the first
   */
  stack({ name, shape }: ParameterInfo, parts: readonly string[]): void {
    const { path } = this.#source;
    const partShape = [shape[0]! / parts.length, ...shape.slice(1)];
    for (const part of parts) {
      if (!this.#source.has(part))
        throw new CheckpointError(`${path}: tensor "${part}" (shape [${partShape}]) is missing.`);
      const found = this.#source.info(part);
      if (`${found.shape}` !== `${partShape}`)
        throw new CheckpointError(
          `${path}: tensor "${part}" has shape [${found.shape}], expected [${partShape}].`,
        );
      const expected = this.#source.info(parts[0]!).dtype;
      if (!floatingDTypes.has(found.dtype) || found.dtype !== expected)
        throw new CheckpointError(
          `${path}: tensor "${part}" is ${found.dtype}; expected ` +
            `${floatingDTypes.has(expected) ? `${expected} as "${parts[0]}"` : 'floating-point numbers'}.`,
        );
      this.#used.add(part);
    }
    const { dtype } = this.#source.info(parts[0]!);
    this.#made.set(name, { dtype, shape, make: () => stacked(this.#source, parts) });
  }

  /** The parameter starts anew, the same numbers every time, in the dtype of another one that is there. */
  startAnew({ name, shape, initializer }: ParameterInfo, dtypeOf: string): void {
    const { dtype } = this.#made.get(dtypeOf)!;
    this.#made.set(name, {
      dtype,
      shape,
      make: () => newParameters(0, dtype).get(name, shape, initializer),
    });
  }

  /** A tensor of the file that is not needed. */
  leaveOut(name: string): void {
    this.#used.add(name);
  }

  /** A second copy of a parameter, which need not be there. @throws CheckpointError when its numbers differ */
  tied(copy: string, original: string): void {
    if (!this.#source.has(copy) || copy === original) return;
    this.#used.add(copy);
    const equal = scope(() => {
      const [a, b] = [this.#source.tensor(copy), this.#source.tensor(original)];
      return `${a.shape}` === `${b.shape}` && aten.equal(a, b.to(a.dtype));
    });
    if (!equal)
      throw new CheckpointError(
        `${this.#source.path}: "${copy}" differs from "${original}", but in this model the two are one tied parameter.`,
      );
  }

  /** Tensors of the file that nothing has asked for. */
  unused(): string[] {
    return this.#source.names().filter((name) => !this.#used.has(name));
  }

  /** The parameters; disposing of it closes the file. */
  source(): TensorSource {
    const { path } = this.#source;
    const find = (name: string): DerivedTensor => {
      const made = this.#made.get(name);
      if (!made) throw new CheckpointError(`${path}: the model in it has no parameter "${name}".`);
      return made;
    };
    return {
      path,
      names: () => [...this.#made.keys()],
      has: (name) => this.#made.has(name),
      info(name) {
        const { dtype, shape } = find(name);
        return { dtype, shape };
      },
      tensor: (name) => find(name).make(),
      [Symbol.dispose]: () => this.#source[Symbol.dispose](),
    };
  }
}

function stacked(source: TensorSource, parts: readonly string[]): Tensor {
  if (parts.length === 1) return source.tensor(parts[0]!);
  return scope(() => cat(parts.map((part) => source.tensor(part))));
}
