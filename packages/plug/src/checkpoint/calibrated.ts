// A model whose linear weights are rounded to int4 as they are read, by what was seen of their inputs.
import type { Tensor } from '@openplug/torch';
import { gptqRound } from './gptq.js';
import type { OpenedModel } from './tensor-source.js';

/**
 * `model` with the weights that have a Hessian already rounded (see `gptqRound`), to be packed as int4, which keeps
 * them as they are. All else is as it was. It goes on reading `model`, and does not dispose of it.
 * @param hessians by the weight's name, [in, in]; they are only read
 */
export function calibrated(model: OpenedModel, hessians: ReadonlyMap<string, Tensor>): OpenedModel {
  const { kind, config, weights, filesBeside, notes } = model;
  return {
    kind,
    config,
    filesBeside,
    notes,
    weights: {
      path: weights.path,
      names: () => weights.names(),
      has: (name) => weights.has(name),
      info(name) {
        const info = weights.info(name);
        return hessians.has(name) ? { ...info, dtype: 'float32' } : info;
      },
      tensor(name) {
        const hessian = hessians.get(name);
        const weight = weights.tensor(name);
        if (!hessian) return weight;
        try {
          return gptqRound(weight, hessian, name);
        } finally {
          weight.dispose();
        }
      },
      [Symbol.dispose]() {},
    },
    [Symbol.dispose]() {},
  };
}
