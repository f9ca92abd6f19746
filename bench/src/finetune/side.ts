// Our side of the fine-tuning benchmark: epochs of classification without padding, all of the model or adapters.
import { AdamW, backward, nn, noGrad, scope, setNumThreads, type Tensor } from '@openplug/torch';
import { givenCase } from '../case.js';
import { answer } from '../harness/side.js';
import {
  decaysWeight,
  indexTensor,
  LoraLayers,
  loadModel,
  newParameters,
  packTexts,
  textBatch,
} from '../openplug.js';
import type { FinetuneCase } from './case.js';

const given = givenCase<FinetuneCase>();
const { precision: computeDType, texts, labels, loraRank: rank } = given;
setNumThreads(given.threads);
const model = loadModel(given.model, {
  encoderOnly: true,
  ...(rank > 0 && {
    layers: new LoraLayers({ rank, alpha: 2 * rank, targets: [], base: given.model }, computeDType),
    adapters: newParameters(1),
  }),
});
const trained = new Map([...model.parameters].filter(([, parameter]) => parameter.requiresGrad));
const optimizer = new AdamW(trained, { weightDecay: given.weightDecay, decays: decaysWeight });

const batches = Array.from({ length: Math.ceil(texts.length / given.batch) }, (_, batch) =>
  texts.slice(batch * given.batch, (batch + 1) * given.batch).map((_, row) => batch * given.batch + row),
);

function logitsOf(indices: readonly number[], dropoutSeed?: number): Tensor {
  const batch = textBatch(packTexts(indices.map((index) => texts[index]!)));
  const options = { computeDType, ...(dropoutSeed !== undefined && { dropoutSeed }) };
  return model.sentenceLogits(model.encode(batch, options), batch.layout);
}

function epoch(withDropout: boolean): number[] {
  return batches.map((indices) =>
    scope(() => {
      const wanted = indexTensor(indices.map((index) => labels[index]!));
      const loss = nn.crossEntropy(logitsOf(indices, withDropout ? optimizer.step : undefined), wanted);
      backward(loss);
      const norm = optimizer.gradientNorm();
      optimizer.update(given.learningRate, Math.min(1, given.clipGradNorm / (norm + 1e-6)));
      optimizer.clearGradients();
      return loss.item();
    }),
  );
}

await answer({
  check: () => ({ losses: epoch(false) }),
  train() {
    const started = performance.now();
    const losses = epoch(true);
    return {
      seconds: (performance.now() - started) / 1000,
      loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
    };
  },
  evaluate() {
    const started = performance.now();
    let right = 0;
    for (const indices of batches) {
      const chosen = noGrad(() => scope(() => logitsOf(indices).argmax(-1).toArray()));
      right += indices.filter((index, row) => chosen[row] === labels[index]).length;
    }
    return { seconds: (performance.now() - started) / 1000, accuracy: right / texts.length };
  },
  memory: () => ({ peakBytes: 1024 * process.resourceUsage().maxRSS }),
});
