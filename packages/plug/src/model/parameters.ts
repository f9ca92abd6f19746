// Where a model's parameters come from. A layer asks for each by its published name and shape, so the names on
// disk are written once, at the place of use; initialising, loading and sharding are different sources.
import { aten, type DType, empty, Generator, keep, type nn, noGrad, type Tensor } from '@openplug/torch';
import { CheckpointError } from '../errors.js';
import { mix32 } from '../random.js';
import type { Linear, LinearLayers, Product } from './layers.js';

/** How a new parameter starts: normal(0, std), or a constant. */
export type Initializer = { std: number } | 'zeros' | 'ones';

/** Gives parameters by name. */
export interface ParameterSource {
  /**
   * A tensor that the caller owns and may change.
   * @throws CheckpointError when there is none of that name and shape
   */
  get(name: string, shape: readonly number[], initializer: Initializer): Tensor;
  /** As `get`, for reading only: it may be the stored tensor itself. */
  hold?(name: string, shape: readonly number[], initializer: Initializer): Tensor;
  /** As `hold`, in the dtype in which it is stored. */
  borrow?(name: string, shape: readonly number[], initializer: Initializer): Tensor;
}

/** New parameters. Each is drawn from a generator of its own, so adding one leaves the others as they were. */
export function newParameters(seed: number, dtype: DType = 'float32'): ParameterSource {
  return {
    get(name, shape, initializer) {
      const parameter = empty(shape, dtype);
      noGrad(() => {
        if (initializer === 'zeros') parameter.zero_();
        else if (initializer === 'ones') parameter.fill_(1);
        else {
          const generator = new Generator(seedOf(seed, name));
          if (dtype === 'float32') {
            aten.normal_(parameter, 0, initializer.std, generator).dispose();
            return;
          }
          // Drawn in fp32 and then cast, so that the numbers are the same in every dtype.
          using drawn = empty(shape, 'float32');
          aten.normal_(drawn, 0, initializer.std, generator).dispose();
          parameter.copy_(drawn);
        }
      });
      return parameter;
    },
  };
}

function seedOf(seed: number, name: string): number {
  let hash = seed | 0;
  for (const character of name) hash = mix32(hash ^ character.codePointAt(0)!) + 0x9e3779b9;
  return hash >>> 0;
}

/** Parameters from named tensors, as `dtype`. `where` names the file in errors. */
export function storedParameters(
  tensors: { has(name: string): boolean; tensor(name: string): Tensor },
  where: string,
  dtype: DType = 'float32',
): ParameterSource & { used: ReadonlySet<string> } {
  const used = new Set<string>();
  const borrow = (name: string, shape: readonly number[]): Tensor => {
    if (!tensors.has(name))
      throw new CheckpointError(`${where}: tensor "${name}" (shape [${shape}]) is missing.`);
    used.add(name);
    const stored = tensors.tensor(name);
    if (stored.shape.length !== shape.length || stored.shape.some((size, index) => size !== shape[index]))
      throw new CheckpointError(
        `${where}: tensor "${name}" has shape [${stored.shape}], expected [${shape}].`,
      );
    return stored;
  };
  const copied = (given: Tensor): Tensor => {
    using stored = given; // its pages of the file are let go of before the next tensor's are read
    const parameter = empty(stored.shape, dtype);
    noGrad(() => parameter.copy_(stored));
    return parameter;
  };
  return {
    used,
    borrow,
    hold(name, shape) {
      const stored = borrow(name, shape);
      return stored.dtype === dtype ? stored : copied(stored);
    },
    get: (name, shape) => copied(borrow(name, shape)),
  };
}

/** Parameters whose name starts with one of `prefixes` from `special`, all others from `general`. */
export function choosingParameters(
  prefixes: readonly string[],
  special: ParameterSource,
  general: ParameterSource,
): ParameterSource {
  const of = (name: string): ParameterSource =>
    prefixes.some((prefix) => name.startsWith(prefix)) ? special : general;
  return {
    get: (name, shape, initializer) => of(name).get(name, shape, initializer),
    hold(name, shape, initializer) {
      const source = of(name);
      return (source.hold ?? source.get).call(source, name, shape, initializer);
    },
    borrow(name, shape, initializer) {
      const source = of(name);
      return (source.borrow ?? source.get).call(source, name, shape, initializer);
    },
  };
}

/** What a model is built from and what it is made of. */
export interface ModelParts {
  /** Where parameters come from. */
  readonly source: ParameterSource;
  /** How linear layers are made. */
  readonly layers: LinearLayers;
  /** Parameters by full name, as they are asked for. */
  readonly parameters: Map<string, Tensor>;
  /** Tensors that are no parameters. */
  readonly packed: Tensor[];
}

/** The part of a model that is being built: its parameters' names stand under a prefix. */
export class ParameterScope {
  readonly #parts: ModelParts;
  readonly #prefix: string;

  constructor(parts: ModelParts, prefix = '') {
    this.#parts = parts;
    this.#prefix = prefix;
  }

  /** The scope of a part: `scope.in('attention')` names its parameters `…attention.NAME`. */
  in(part: string): ParameterScope {
    return new ParameterScope(this.#parts, `${this.#prefix}${part}.`);
  }

  /** The full name of a parameter of this scope. */
  nameOf(name: string): string {
    return this.#prefix + name;
  }

  /** One parameter, recorded under its full name. What is frozen stays on the file's pages: nothing writes to it. */
  get(name: string, shape: readonly number[], initializer: Initializer): Tensor {
    const full = this.nameOf(name);
    const { source, layers, parameters } = this.#parts;
    const isFrozen = layers.trains?.(full) === false;
    const give = isFrozen ? (source.hold ?? source.get) : source.get;
    const parameter = give.call(source, full, shape, initializer);
    parameter.requiresGrad = !isFrozen && layers.precision === undefined;
    parameters.set(full, parameter);
    return parameter;
  }

  /** One parameter for reading only; the caller disposes of it. */
  borrow(name: string, shape: readonly number[], initializer: Initializer): Tensor {
    const { source } = this.#parts;
    return (source.borrow ?? source.get).call(source, this.nameOf(name), shape, initializer);
  }

  /** One parameter that is never trained, recorded under its full name, in the dtype that it is used in. */
  frozen(name: string, shape: readonly number[], initializer: Initializer, dtype: DType): Tensor {
    const stored = this.borrow(name, shape, initializer);
    const parameter = stored.dtype === dtype ? stored : noGrad(() => stored.to(dtype));
    if (parameter !== stored) stored.dispose();
    this.#parts.parameters.set(this.nameOf(name), parameter);
    return parameter;
  }

  /** This scope with something in front of all names. */
  under(prefix: string): ParameterScope {
    return new ParameterScope(this.#parts, prefix + this.#prefix);
  }

  /** A linear layer of this scope's `weight` and `bias`. */
  linear(inputSize: number, outputSize: number, std: number): Linear {
    return this.#parts.layers.linear(this, inputSize, outputSize, std);
  }

  /** A table of rows, this scope's `weight`. */
  table(rows: number, width: number, std: number): Tensor {
    return this.#parts.layers.table(this, rows, width, std);
  }

  /** The product with a table of another scope. */
  tied(name: string, table: Tensor): Product {
    return this.#parts.layers.tied(this, name, table);
  }

  /** A linear layer that files hold and nothing computes with. */
  unused(inputSize: number, outputSize: number, std: number): void {
    this.#parts.layers.unused(this, inputSize, outputSize, std);
  }

  /** One parameter for reading only, recorded under its full name. */
  hold(name: string, shape: readonly number[], initializer: Initializer): Tensor {
    const parameter = this.borrow(name, shape, initializer);
    this.#parts.parameters.set(this.nameOf(name), parameter);
    return parameter;
  }

  /** A tensor that follows from the configuration, made when it is first asked for; the model disposes of it. */
  constant(make: () => Tensor): () => Tensor {
    let made: Tensor | undefined;
    return () => {
      if (!made) {
        made = keep(make());
        this.#parts.packed.push(made);
      }
      return made;
    };
  }

  /** Gives the model a packed weight to dispose of. */
  own(weight: nn.PackedWeight): nn.PackedWeight {
    this.#parts.packed.push(...weight.tensors);
    return weight;
  }
}

/** Whether weight decay applies to a parameter: to all but biases and LayerNorm, as published. */
export function decaysWeight(name: string): boolean {
  return !/(^|\.)bias$|layernorm/i.test(name);
}
