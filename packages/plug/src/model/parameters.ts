// Where a model's parameters come from. A layer asks for each by its published name and shape, so the names on
// disk are written once, at the place of use; initialising, loading and sharding are different sources.
import { aten, type DType, empty, Generator, noGrad, type Tensor } from '@openplug/torch';
import { CheckpointError } from '../errors.js';
import { mix32 } from '../random.js';

/** How a new parameter starts: normal(0, std), or a constant. */
export type Initializer = { std: number } | 'zeros' | 'ones';

/** Gives parameters by name. */
export interface ParameterSource {
  /** @throws CheckpointError when there is none of that name and shape */
  get(name: string, shape: readonly number[], initializer: Initializer): Tensor;
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
          // Drawn in fp32 and then cast, so that the numbers are the same in every dtype.
          using drawn = empty(shape, 'float32');
          aten.normal_(drawn, 0, initializer.std, new Generator(seedOf(seed, name))).dispose();
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

/** Parameters from named tensors, copied as `dtype`. `where` names the file in errors. */
export function storedParameters(
  tensors: { has(name: string): boolean; tensor(name: string): Tensor },
  where: string,
  dtype: DType = 'float32',
): ParameterSource & { used: ReadonlySet<string> } {
  const used = new Set<string>();
  return {
    used,
    get(name, shape) {
      if (!tensors.has(name))
        throw new CheckpointError(`${where}: tensor "${name}" (shape [${shape}]) is missing.`);
      used.add(name);
      using stored = tensors.tensor(name);
      if (stored.shape.length !== shape.length || stored.shape.some((size, index) => size !== shape[index]))
        throw new CheckpointError(
          `${where}: tensor "${name}" has shape [${stored.shape}], expected [${shape}].`,
        );
      const parameter = empty(shape, dtype);
      noGrad(() => parameter.copy_(stored));
      return parameter;
    },
  };
}

/** Parameters whose name starts with one of `prefixes` from `special`, all others from `general`. */
export function choosingParameters(
  prefixes: readonly string[],
  special: ParameterSource,
  general: ParameterSource,
): ParameterSource {
  return {
    get: (name, shape, initializer) =>
      (prefixes.some((prefix) => name.startsWith(prefix)) ? special : general).get(name, shape, initializer),
  };
}

/** The parameters of one module while it is being built: names under a prefix, all collected in one map. */
export class ParameterScope {
  readonly #source: ParameterSource;
  readonly #prefix: string;
  readonly #collected: Map<string, Tensor>;

  constructor(source: ParameterSource, collected: Map<string, Tensor>, prefix = '') {
    this.#source = source;
    this.#prefix = prefix;
    this.#collected = collected;
  }

  /** The scope of a part: `scope.in('attention')` names its parameters `…attention.NAME`. */
  in(part: string): ParameterScope {
    return new ParameterScope(this.#source, this.#collected, `${this.#prefix}${part}.`);
  }

  /** One parameter, recorded under its full name. */
  get(name: string, shape: readonly number[], initializer: Initializer): Tensor {
    const full = this.#prefix + name;
    const parameter = this.#source.get(full, shape, initializer);
    parameter.requiresGrad = true;
    this.#collected.set(full, parameter);
    return parameter;
  }
}

/** Whether weight decay applies to a parameter: to all but biases and LayerNorm, as published. */
export function decaysWeight(name: string): boolean {
  return !/(^|\.)bias$|layernorm/i.test(name);
}
