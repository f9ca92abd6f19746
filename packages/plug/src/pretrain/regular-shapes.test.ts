// Batches are filled up to round shapes; losses and gradients must be those of the batch as it is.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backward, scope, type Tensor } from '@openplug/torch';
import {
  indexTensor,
  lmLoss,
  mlmLoss,
  newParameters,
  PlugModel,
  plugConfigOfSize,
  sentenceLoss,
  textBatch,
} from '../model/index.js';
import type { TrainingObjective } from '../train/index.js';
import { stage1Objective, stage2Objective } from './index.js';
import { testTokenCorpus, testTokenizer } from './pretrain.test-support.js';
import {
  batchStream,
  createStage1Sampler,
  createStage2Sampler,
  packStage1,
  packStage2,
} from './samples/index.js';

const options = { computeDType: 'float64' } as const;
const settings = { seed: 3, tokensPerBatch: 90, evaluationBatches: 1 };
const config = plugConfigOfSize('nano', testTokenizer.vocabSize, {
  maxPositionEmbeddings: 32,
  initializerRange: 0.2, // large, so that every part of the network moves the loss
});
const corpus = testTokenCorpus(12);

/** The loss, its parts, and the gradient of every parameter. */
function numbersOf(
  model: PlugModel,
  losses: () => { loss: Tensor; parts: Record<string, Tensor | undefined> },
): Record<string, number[]> {
  return scope(() => {
    const { loss, parts } = losses();
    backward(loss);
    const numbers: Record<string, number[]> = { loss: [loss.item()] };
    for (const [name, part] of Object.entries(parts)) if (part) numbers[name] = [part.item()];
    for (const [name, parameter] of model.parameters) {
      if (parameter.grad) numbers[`gradient of ${name}`] = parameter.grad.toArray();
      parameter.grad = undefined;
    }
    return numbers;
  });
}

function assertEqual(got: Record<string, number[]>, wanted: Record<string, number[]>): void {
  assert.deepEqual(Object.keys(got).sort(), Object.keys(wanted).sort());
  for (const [name, values] of Object.entries(wanted)) {
    const size = Math.max(1, ...values.map(Math.abs));
    for (const [index, value] of values.entries())
      assert.ok(
        Math.abs(got[name]![index]! - value) <= 1e-12 * size,
        `${name}[${index}]: ${got[name]![index]} for ${value}`,
      );
  }
}

const stepOf = (objective: TrainingObjective, step: number) => objective.nextLosses(step, options);

describe('batches of round shapes', () => {
  it('give the losses and gradients of stage 1 without filler', () => {
    using model = new PlugModel({ ...config, decHiddenLayers: 0 }, newParameters(1, 'float64'));
    const sampler = createStage1Sampler(corpus, testTokenizer, { seed: 3, maxLength: 24 });
    const objective = stage1Objective(model, sampler, undefined, settings);
    const stream = batchStream(sampler, settings);
    for (let step = 1; step <= 4; step++) {
      const batch = packStage1(stream.nextBatch().map((index) => sampler.sample(index)));
      assert.notEqual(batch.source.ids.length % 64, 0, 'nothing to fill up: the test proves nothing');
      const plain = numbersOf(model, () => {
        const source = textBatch(batch.source);
        const encoded = model.encode(source, options);
        const labels = indexTensor(batch.labels);
        const mlm = mlmLoss(model, encoded, indexTensor(batch.labelIndex), labels, options);
        const sentence = sentenceLoss(model, encoded, source.layout, indexTensor(batch.sentenceLabels));
        return { loss: mlm.add(sentence), parts: { mlmLoss: mlm, sentenceLoss: sentence } };
      });
      assertEqual(
        numbersOf(model, () => stepOf(objective, step)),
        plain,
      );
    }
  });

  it('give the losses and gradients of stage 2 without filler, with and without the masked LM', () => {
    using model = new PlugModel(config, newParameters(2, 'float64'));
    const sampler = createStage2Sampler(corpus, testTokenizer, { seed: 3, minLength: 3, maxLength: 10 });
    const objective = stage2Objective(model, sampler, undefined, { ...settings, mlmUntilStep: 2 }, () => 1);
    const stream = batchStream(sampler, settings);
    for (let step = 1; step <= 4; step++) {
      const maskSource = step <= 2;
      const batch = packStage2(stream.nextBatch().map((index) => sampler.sample(index, { maskSource })));
      const plain = numbersOf(model, () => {
        const source = textBatch(batch.source);
        const encoded = model.encode(source, options);
        const decoded = model.decode(textBatch(batch.target), encoded, source.layout, options);
        const lm = lmLoss(model, decoded, indexTensor(batch.targetLabels), options);
        if (!maskSource) return { loss: lm, parts: { lmLoss: lm } };
        const labels = indexTensor(batch.labels);
        const mlm = mlmLoss(model, encoded, indexTensor(batch.labelIndex), labels, options);
        return { loss: lm.add(mlm), parts: { lmLoss: lm, mlmLoss: mlm } };
      });
      assertEqual(
        numbersOf(model, () => stepOf(objective, step)),
        plain,
      );
    }
  });

  it('of texts so short that no token is masked still have a loss', () => {
    using model = new PlugModel({ ...config, decHiddenLayers: 0 }, newParameters(1, 'float64'));
    const unmasked = { seed: 3, maxLength: 8, maskProbability: 0, trigramProbability: 0 };
    const sampler = createStage1Sampler(corpus, testTokenizer, unmasked);
    const objective = stage1Objective(model, sampler, undefined, settings);
    const { mlmLoss: none, loss } = numbersOf(model, () => stepOf(objective, 1));
    assert.equal(none, undefined);
    assert.ok(loss![0]! > 0 && Number.isFinite(loss![0]));
  });

  it('count no filler as tokens', () => {
    using model = new PlugModel({ ...config, decHiddenLayers: 0 }, newParameters(1, 'float64'));
    const sampler = createStage1Sampler(corpus, testTokenizer, { seed: 3, maxLength: 24 });
    const objective = stage1Objective(model, sampler, undefined, settings);
    const indices = batchStream(sampler, settings).nextBatch();
    const tokens = indices.reduce((sum, index) => sum + sampler.lengthOf(index).source, 0);
    assert.equal(
      scope(() => stepOf(objective, 1).numTokens),
      tokens,
    );
  });
});
