// Training neither leaks tensors nor drifts between runs, and learns.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AdamW, backward, liveTensorBytes, liveTensorCount, scope } from '@openplug/torch';
import { decaysWeight, type ForwardOptions, newParameters, PlugModel, plugConfigOfSize } from './index.js';
import { lossOf, sampleOf } from './small-models.test-support.js';

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
