// AdamW over named parameters, and gradient clipping by global norm.
import { noGrad } from './autograd.js';
import { zeros } from './create.js';
import { CheckpointError } from './errors.js';
import { scope } from './scope.js';
import { callOperator, type Tensor } from './tensor.js';

export interface AdamWOptions {
  /** Decay of the first moment. Default 0.9. */
  beta1?: number;
  /** Decay of the second moment. Default 0.999. */
  beta2?: number;
  /** Added to the root of the second moment. Default 1e-8. */
  eps?: number;
  /** Decoupled weight decay. Default 0.01. */
  weightDecay?: number;
  /** Which parameters decay. Default: all. */
  decays?: (name: string) => boolean;
  /** Factor on the learning rate of a parameter. Default: 1 for all. */
  rateFactor?: (name: string) => number;
}

interface Group {
  parameters: Tensor[];
  firstMoments: Tensor[];
  secondMoments: Tensor[];
  weightDecay: number;
  rateFactor: number;
}

/** AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) with moments in the parameters' dtype. */
export class AdamW {
  /** Steps taken so far. */
  step = 0;
  readonly #names: string[];
  readonly #parameters: ReadonlyMap<string, Tensor>;
  readonly #moments = new Map<string, { first: Tensor; second: Tensor }>();
  readonly #options: Required<AdamWOptions>;

  constructor(parameters: ReadonlyMap<string, Tensor>, options: AdamWOptions = {}) {
    this.#options = {
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      weightDecay: 0.01,
      decays: () => true,
      rateFactor: () => 1,
      ...options,
    };
    this.#parameters = parameters;
    this.#names = [...parameters.keys()];
    for (const [name, parameter] of parameters)
      this.#moments.set(name, {
        first: zeros(parameter.shape, parameter.dtype),
        second: zeros(parameter.shape, parameter.dtype),
      });
  }

  /**
   * Global L2 norm of all gradients, in float64.
   * The sum runs in a fixed order, so it is the same for any number of threads.
   */
  gradientNorm(): number {
    return scope(() => {
      const gradients = [...this.#parameters.values()].map((p) => p.grad).filter((g) => g !== undefined);
      if (gradients.length === 0) return 0;
      return Math.sqrt((callOperator('openplug::sum_of_squares', gradients) as Tensor).item());
    });
  }

  /**
   * One update from the parameters' gradients; parameters without a gradient stay as they are.
   * @param learningRate the rate of this step
   * @param gradientScale factor on all gradients, for clipping. Default 1.
   */
  update(learningRate: number, gradientScale = 1): void {
    this.step++;
    const { beta1, beta2, eps } = this.#options;
    noGrad(() =>
      scope(() => {
        for (const group of this.#groups()) {
          const gradients = group.parameters.map((parameter) => parameter.grad!);
          callOperator(
            'openplug::adamw_',
            group.parameters,
            gradients,
            group.firstMoments,
            group.secondMoments,
            learningRate * group.rateFactor,
            beta1,
            beta2,
            eps,
            group.weightDecay,
            this.step,
            gradientScale,
          );
        }
      }),
    );
  }

  /** Drops all gradients, so that the next backward pass starts from none. */
  clearGradients(): void {
    for (const parameter of this.#parameters.values()) parameter.grad = undefined;
  }

  /** Moments as tensors to save: `exp_avg.NAME` and `exp_avg_sq.NAME`, as torch.optim names them. */
  state(): Map<string, Tensor> {
    const tensors = new Map<string, Tensor>();
    for (const [name, { first, second }] of this.#moments) {
      tensors.set(`exp_avg.${name}`, first);
      tensors.set(`exp_avg_sq.${name}`, second);
    }
    return tensors;
  }

  /**
   * Takes over what `state()` gave: all of it, or nothing when something does not fit.
   * @throws CheckpointError naming the first tensor that is missing or misshapen.
   */
  restore(step: number, read: (name: string) => Tensor | undefined): void {
    scope(() => {
      const pairs = [...this.state()].map(([name, moment]) => {
        const saved = read(name);
        if (!saved)
          throw new CheckpointError(
            `The optimiser state has no tensor "${name}": it belongs to another model.`,
          );
        if (`${saved.shape}` !== `${moment.shape}` || saved.shape.length !== moment.shape.length)
          throw new CheckpointError(
            `The optimiser state's tensor "${name}" has shape [${saved.shape}], expected [${moment.shape}]: ` +
              'it belongs to another model.',
          );
        return { moment, saved };
      });
      for (const { moment, saved } of pairs) moment.copy_(saved);
    });
    this.step = step;
  }

  /** Parameters that are updated alike. */
  #groups(): Group[] {
    const groups = new Map<string, Group>();
    for (const name of this.#names) {
      const parameter = this.#parameters.get(name)!;
      using gradient = parameter.grad;
      if (!gradient) continue;
      const weightDecay = this.#options.decays(name) ? this.#options.weightDecay : 0;
      const rateFactor = this.#options.rateFactor(name);
      const key = `${weightDecay} ${rateFactor}`;
      const group = groups.get(key) ?? {
        parameters: [],
        firstMoments: [],
        secondMoments: [],
        weightDecay,
        rateFactor,
      };
      groups.set(key, group);
      const moments = this.#moments.get(name)!;
      group.parameters.push(parameter);
      group.firstMoments.push(moments.first);
      group.secondMoments.push(moments.second);
    }
    return [...groups.values()];
  }
}
