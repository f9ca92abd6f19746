// Our side of the training benchmark: the step of the training loop over one batch, on request.
import { AdamW, aten, noGrad, scope, setNumThreads, type Tensor, zeros } from '@openplug/torch';
import { givenCase } from '../case.js';
import { answer } from '../harness/side.js';
import { decaysWeight, loadModel } from '../openplug.js';
import type { TrainCase } from './case.js';
import { type StepNumbers, trainStep } from './step.js';

/** Best rate of a large square matrix product, FLOP/s: what this machine can do right now. */
function gemmRate(dtype: TrainCase['precision']): number {
  const size = 2048;
  const seconds: number[] = [];
  noGrad(() =>
    scope(() => {
      const [a, b] = [0, 1].map(() => aten.normal_(zeros([size, size])).to(dtype)) as [Tensor, Tensor];
      for (let turn = 0; turn < 4; turn++) {
        const started = performance.now();
        a.matmul(b).dispose();
        seconds.push((performance.now() - started) / 1000);
      }
    }),
  );
  return (2 * size ** 3) / Math.min(...seconds);
}

const given = givenCase<TrainCase>();
setNumThreads(given.threads);
const model = loadModel(given.model);
const optimizer = new AdamW(model.parameters, { weightDecay: given.weightDecay, decays: decaysWeight });
await answer({
  /** Steps without dropout: both losses of each, and the norm of its gradient before clipping. */
  check({ steps: count }) {
    const steps = Array.from({ length: count as number }, () =>
      trainStep(model, optimizer, given, undefined),
    );
    return {
      losses: steps.flatMap(({ mlm, lm }) => [mlm, lm]),
      gradientNorms: steps.map(({ gradientNorm }) => gradientNorm),
    };
  },
  steps({ count }) {
    const started = performance.now();
    let last: StepNumbers = { mlm: 0, lm: 0, gradientNorm: 0 };
    for (let step = 0; step < (count as number); step++)
      last = trainStep(model, optimizer, given, optimizer.step);
    return { seconds: (performance.now() - started) / 1000, loss: last.mlm + last.lm };
  },
  memory: () => ({ peakBytes: 1024 * process.resourceUsage().maxRSS }),
  gemm: () => ({ flopsPerSecond: gemmRate(given.precision) }),
});
