// Gradients of the whole model by finite differences in float64.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backward, noGrad, scope } from '@openplug/torch';
import { keyedRandom } from '../random.js';
import type { ForwardOptions } from './index.js';
import { lossOf, modelVariants, sampleOf, smallModel } from './small-models.test-support.js';

describe('gradients', () => {
  const sample = sampleOf(1);
  const cases: readonly Omit<ForwardOptions, 'computeDType'>[] = [
    {},
    { dropoutSeed: 5 }, // the mask is a function of the seed, so differences work with dropout too
  ];
  for (const variant of modelVariants)
    for (const given of variant.doubleFinalNorm ? cases.slice(0, 1) : cases)
      it(`equal finite differences, ${JSON.stringify(variant)}, ${JSON.stringify(given)}`, () => {
        const options: ForwardOptions = { computeDType: 'float64', ...given };
        using model = smallModel({ ...variant, hiddenDropoutProb: 0.2, attentionProbsDropoutProb: 0.2 });
        scope(() => backward(lossOf(model, sample, options)));
        const value = (): number => noGrad(() => scope(() => lossOf(model, sample, options).item()));
        const random = keyedRandom(11);
        let compared = 0;
        for (const [name, parameter] of model.parameters) {
          using gradient = parameter.grad;
          if (!gradient) continue;
          const exact = gradient.toArray();
          const largest = exact.reduce(
            (best, x, at) => (Math.abs(x) > Math.abs(exact[best]!) ? at : best),
            0,
          );
          for (const at of [largest, random.integer(0, exact.length - 1)]) {
            const step = 1e-5;
            const shifted = (by: number): number => {
              scope(() => parameter.detach().reshape(-1).narrow(0, at, 1).add_(by));
              return value();
            };
            const [above, below] = [shifted(step), shifted(-2 * step)];
            shifted(step);
            const numeric = (above - below) / (2 * step);
            const error = Math.abs(numeric - exact[at]!);
            assert.ok(
              error < 1e-7 * (1 + Math.abs(exact[at]!)),
              `${name}[${at}]: ${exact[at]} for ${numeric}`,
            );
            compared++;
          }
        }
        assert.ok(compared >= 120, `${compared} entries compared`);
      });
});
