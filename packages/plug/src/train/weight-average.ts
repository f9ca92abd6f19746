// An exponential moving average of the weights (Polyak and Juditsky 1992): evaluated and kept in their place.
import { join } from 'node:path';
import { noGrad, openSafetensors, scope, type Tensor, writeSafetensors } from '@openplug/torch';
import { CheckpointError } from '../errors.js';

/** Its file in a checkpoint. */
export const averageFile = 'average.safetensors';

/** average ← d · average + (1 − d) · weights after each step, with d = min(decay, (1 + step) / (10 + step)). */
export class WeightAverage implements Disposable {
  readonly #parameters: ReadonlyMap<string, Tensor>;
  readonly #averages: Map<string, Tensor>;
  readonly #decay: number;

  /** Starts as the weights are. */
  constructor(parameters: ReadonlyMap<string, Tensor>, decay: number) {
    this.#parameters = parameters;
    this.#decay = decay;
    this.#averages = noGrad(
      () => new Map([...parameters].map(([name, parameter]) => [name, parameter.detach().clone()])),
    );
  }

  /** @param step steps taken so far, from 1: the first ones count for less */
  update(step: number): void {
    const decay = Math.min(this.#decay, (1 + step) / (10 + step));
    noGrad(() =>
      scope(() => {
        for (const [name, average] of this.#averages)
          average.copy_(average.mul(decay).add(this.#parameters.get(name)!.mul(1 - decay)));
      }),
    );
  }

  /** Runs something with the averages in the place of the weights. */
  inPlace<Result>(use: () => Result): Result {
    this.#exchange();
    try {
      return use();
    } finally {
      this.#exchange();
    }
  }

  save(folder: string): void {
    writeSafetensors(join(folder, averageFile), this.#averages);
  }

  /** @throws CheckpointError when the folder has no averages of these weights */
  restore(folder: string): void {
    using file = openSafetensors(join(folder, averageFile));
    scope(() => {
      for (const [name, average] of this.#averages) {
        const saved = file.tensor(name);
        if (`${saved.shape}` !== `${average.shape}`)
          throw new CheckpointError(
            `${file.path}: "${name}" has shape [${saved.shape}], expected [${average.shape}].`,
          );
        noGrad(() => average.copy_(saved));
      }
    });
  }

  [Symbol.dispose](): void {
    for (const average of this.#averages.values()) average.dispose();
  }

  #exchange(): void {
    noGrad(() =>
      scope(() => {
        for (const [name, average] of this.#averages) {
          const parameter = this.#parameters.get(name)!;
          const weights = parameter.detach().clone();
          parameter.copy_(average);
          average.copy_(weights);
        }
      }),
    );
  }
}
