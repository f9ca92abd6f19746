// Gradients of the whole model by finite differences, and training that neither leaks nor drifts.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AdamW,
  backward,
  liveTensorBytes,
  liveTensorCount,
  noGrad,
  scope,
  type Tensor,
} from '@openplug/torch';
import { keyedRandom } from '../random.js';
import {
  decaysWeight,
  type ForwardOptions,
  indexTensor,
  lmLoss,
  mlmLoss,
  newParameters,
  PlugModel,
  packTexts,
  plugConfigOfSize,
  sentenceLoss,
  textBatch,
} from './index.js';
import { modelVariants, randomText, smallModel } from './small-models.test-support.js';

/** One step's inputs: two sources, two targets, three masked-LM labels. */
interface Sample {
  sources: number[][];
  types: number[][];
  targets: number[][];
  labels: number[];
}

function sampleOf(seed: number): Sample {
  const sources = [randomText(seed, 7), randomText(seed + 1, 4)];
  return {
    sources,
    types: sources.map((text) => text.map((_, at) => at % 3)),
    targets: [randomText(seed + 2, 5), randomText(seed + 3, 6)],
    labels: randomText(seed + 4, 3),
  };
}

/** MLM + sentence + LM loss. */
function lossOf(model: PlugModel, sample: Sample, options: ForwardOptions): Tensor {
  const source = textBatch(packTexts(sample.sources, sample.types), Int32Array.of(6, 4));
  const target = textBatch(packTexts(sample.targets));
  const encoded = model.encode(source, options);
  const decoded = model.decode(target, encoded, source.layout, options);
  return mlmLoss(model, encoded, indexTensor([1, 4, 9]), indexTensor(sample.labels), options)
    .add(sentenceLoss(model, encoded, source.layout, indexTensor([2, 0])))
    .add(lmLoss(model, decoded, indexTensor(sample.targets.flat()), options));
}

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

describe('training', () => {
  const config = plugConfigOfSize('nano', 33, { maxPositionEmbeddings: 16 });

  it('holds the number and bytes of tensors constant over 1,000 steps, and learns', () => {
    using model = new PlugModel(config, newParameters(1));
    const optimizer = new AdamW(model.parameters, { decays: decaysWeight });
    const losses: number[] = [];
    let after10 = { count: 0, bytes: 0 };
    for (let step = 0; step < 1000; step++) {
      losses.push(
        scope(() => {
          const options: ForwardOptions = {
            computeDType: 'float32',
            dropoutSeed: step,
            recomputeLayers: step % 2 === 1,
          };
          const loss = lossOf(model, sampleOf(step % 4), options);
          backward(loss);
          const norm = optimizer.gradientNorm();
          optimizer.update(1e-3, Math.min(1, 1 / norm));
          optimizer.clearGradients();
          return loss.item();
        }),
      );
      const now = { count: liveTensorCount(), bytes: liveTensorBytes() };
      if (step === 9) after10 = now;
      if (step > 9) assert.deepEqual(now, after10, `after step ${step + 1}`);
    }
    const mean = (from: number): number => losses.slice(from, from + 50).reduce((a, b) => a + b, 0) / 50;
    assert.ok(mean(950) < 0.4 * mean(0), `${mean(0)} to ${mean(950)}`);
  });

  it('is the same bit for bit when run again', () => {
    const run = (): number[][] => {
      using model = new PlugModel(config, newParameters(1));
      const optimizer = new AdamW(model.parameters, { decays: decaysWeight });
      for (let step = 0; step < 5; step++)
        scope(() => {
          backward(lossOf(model, sampleOf(step), { computeDType: 'bfloat16', dropoutSeed: step }));
          optimizer.update(1e-3);
          optimizer.clearGradients();
        });
      return [...model.parameters.values()].map((parameter) => parameter.toArray());
    };
    assert.deepEqual(run(), run());
  });
});
