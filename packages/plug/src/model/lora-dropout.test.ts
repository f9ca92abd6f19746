// Dropout of adapters' inputs: off outside training, the same mask again where it must be, and exact gradients through it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backward, full, noGrad, scope, tensor } from '@openplug/torch';
import { DropoutSites } from './forward.js';
import { type ForwardOptions, LoraLayers, ParameterScope, PlugModel } from './index.js';
import { lossOf, randomParameters, sampleOf, smallConfig } from './small-models.test-support.js';

const sample = sampleOf(1);

/** A small model with adapters, both of their matrices random, and no dropout but theirs. */
function adaptedModel(dropout: number, changes: Partial<typeof smallConfig> = {}): PlugModel {
  const config = { ...smallConfig, hiddenDropoutProb: 0, attentionProbsDropoutProb: 0, ...changes };
  const layers = new LoraLayers({ rank: 2, alpha: 3, targets: [], dropout, base: 'none' }, 'float64');
  return new PlugModel(config, randomParameters(1, 'float64'), layers);
}

describe('dropout of adapters', () => {
  const plain: ForwardOptions = { computeDType: 'float64' };
  const value = (model: PlugModel, options: ForwardOptions): number =>
    noGrad(() => scope(() => lossOf(model, sample, options).item()));

  it('is off in inference and at 0, and drawn anew by each seed', () => {
    using without = adaptedModel(0);
    using model = adaptedModel(0.3);
    assert.equal(value(model, plain), value(without, plain));
    assert.equal(value(without, { ...plain, dropoutSeed: 4 }), value(without, plain));
    const dropped = value(model, { ...plain, dropoutSeed: 4 });
    assert.notEqual(dropped, value(model, plain));
    assert.equal(value(model, { ...plain, dropoutSeed: 4 }), dropped);
    assert.notEqual(value(model, { ...plain, dropoutSeed: 5 }), dropped);
  });

  it('drops a share of the adapters’ inputs, scales the rest, and leaves the frozen product whole', () => {
    const [size, rows, rate] = [64, 50, 0.25];
    const identity = Array.from({ length: size * size }, (_, at) => (at % (size + 1) === 0 ? 1 : 0));
    const layers = new LoraLayers(
      { rank: size, alpha: size, targets: [], dropout: rate, base: 'none' },
      'float64',
    );
    const source = {
      // y = 3 x + the adapter's part, which is x as the adapter gets it.
      get: (name: string) => {
        const square = tensor(identity, { shape: [size, size], dtype: 'float64' });
        if (name.endsWith('bias')) return full([size], 0, 'float64');
        return name.includes('lora_') ? square : square.mul(3);
      },
    };
    scope(() => {
      const linear = new ParameterScope({ source, layers, parameters: new Map(), packed: [] })
        .in('dense')
        .linear(size, size, 1);
      const x = full([rows, size], 1, 'float64');
      const sites = new DropoutSites({ ...plain, dropoutSeed: 9 }, 0);
      const parts = noGrad(() => linear.forward(x, undefined, sites).toArray()).map((y) => y - 3);
      const dropped = parts.filter((part) => part === 0).length;
      for (const part of parts) assert.ok(part === 0 || Math.abs(part - 1 / (1 - rate)) < 1e-12, `${part}`);
      const share = dropped / parts.length;
      assert.ok(Math.abs(share - rate) < 5 * Math.sqrt((rate * (1 - rate)) / parts.length), `${share}`);
    });
  });

  for (const recomputeLayers of [false, true])
    it(`has exact gradients${recomputeLayers ? ', also of layers that are computed again' : ''}`, () => {
      const options = { ...plain, dropoutSeed: 6, recomputeLayers };
      using model = adaptedModel(0.3, { hiddenDropoutProb: 0.2, attentionProbsDropoutProb: 0.2 });
      scope(() => backward(lossOf(model, sample, options)));
      let compared = 0;
      for (const [name, parameter] of model.parameters) {
        using gradient = parameter.grad;
        if (!gradient) continue;
        assert.match(name, /lora_[AB]/);
        const exact = gradient.toArray();
        const at = exact.reduce((best, x, place) => (Math.abs(x) > Math.abs(exact[best]!) ? place : best), 0);
        const shifted = (by: number): number => {
          scope(() => parameter.detach().reshape(-1).narrow(0, at, 1).add_(by));
          return value(model, options);
        };
        const numeric = (shifted(1e-5) - shifted(-2e-5)) / 2e-5;
        shifted(1e-5);
        const error = Math.abs(numeric - exact[at]!);
        assert.ok(error < 1e-7 * (1 + Math.abs(exact[at]!)), `${name}: ${exact[at]} for ${numeric}`);
        compared++;
      }
      assert.ok(compared >= 2 * 4 * 2, `${compared} compared`);
    });
});
