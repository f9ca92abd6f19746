// Dropout while training, recomputed layers, and the switches of the configuration.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backward, scope, type Tensor } from '@openplug/torch';
import { DropoutSites } from './forward.js';
import { type ForwardOptions, indexTensor, lmLoss, mlmLoss, type PlugModel, sentenceLoss } from './index.js';
import {
  assertClose,
  modelVariants,
  outputsOf,
  randomText,
  smallModel,
  sourceBatch,
  type TextPair,
  targetBatch,
} from './small-models.test-support.js';

const pairs: readonly TextPair[] = [9, 4, 12].map((length) => ({
  source: randomText(length, length),
  types: Array.from({ length }, (_, at) => at % 3),
  target: randomText(length + 1, length - 2),
}));

/** Sum of the three losses. */
function totalLoss(model: PlugModel, options: ForwardOptions): Tensor {
  const source = sourceBatch(pairs);
  const target = targetBatch(pairs);
  const encoded = model.encode(source, options);
  const labels = indexTensor(randomText(5, target.layout.numTokens));
  const masked = [0, 3, 10, 20];
  return mlmLoss(model, encoded, indexTensor(masked), indexTensor(randomText(6, masked.length)), options)
    .add(sentenceLoss(model, encoded, source.layout, indexTensor([0, 1, 2])))
    .add(lmLoss(model, model.decode(target, encoded, source.layout, options), labels, options));
}

/** The loss and the gradient of every parameter that has one. */
function trainOnce(model: PlugModel, options: ForwardOptions): Map<string, number[]> {
  return scope(() => {
    const loss = totalLoss(model, options);
    backward(loss);
    const found = new Map([['loss', loss.toArray()]]);
    for (const [name, parameter] of model.parameters) {
      const gradient = parameter.grad;
      if (gradient) found.set(name, gradient.toArray());
      parameter.grad = undefined;
    }
    return found;
  });
}

const lossOf = (model: PlugModel, options: ForwardOptions): number =>
  scope(() => totalLoss(model, options).item());

describe('dropout', () => {
  it('is off in inference and with rate 0', () => {
    using model = smallModel();
    using without = smallModel({ hiddenDropoutProb: 0, attentionProbsDropoutProb: 0 });
    const options = { computeDType: 'float64' } as const;
    assert.equal(lossOf(model, options), lossOf(without, options));
    assert.equal(lossOf(without, { ...options, dropoutSeed: 3 }), lossOf(without, options));
  });

  for (const changes of [
    { hiddenDropoutProb: 0.1, attentionProbsDropoutProb: 0 },
    { hiddenDropoutProb: 0, attentionProbsDropoutProb: 0.1 },
  ]) {
    it(`is a function of its seed, ${JSON.stringify(changes)}`, () => {
      using model = smallModel(changes);
      const withSeed = (dropoutSeed: number): number =>
        lossOf(model, { computeDType: 'float64', dropoutSeed });
      const seeds = [0, 1, 2, 2 ** 32, 2 ** 53 - 1];
      const losses = seeds.map(withSeed);
      assert.deepEqual(seeds.map(withSeed), losses);
      losses.push(lossOf(model, { computeDType: 'float64' }));
      assert.equal(new Set(losses).size, losses.length, `${losses}`);
    });
  }

  it('zeroes embeddings at the configured rate and scales the others', () => {
    // With all layers' outputs at zero, what reaches the final norm is the dropped embedding itself.
    using model = smallModel({ preLn: true, hiddenDropoutProb: 0.3, decHiddenLayers: 0 });
    let zeros = 0;
    let total = 0;
    for (const [name, parameter] of model.parameters)
      if (/output\.dense|encoder\.LayerNorm\.bias/.test(name)) parameter.detach().zero_();
    scope(() => {
      for (let dropoutSeed = 0; dropoutSeed < 60; dropoutSeed++) {
        const encoded = model.encode(sourceBatch(pairs), { computeDType: 'float64', dropoutSeed });
        const [width, numTokens] = [encoded.shape[1]!, encoded.shape[0]!];
        const values = encoded.div(model.parameters.get('bert.encoder.LayerNorm.weight')!).toArray();
        // Dropped elements all come out as −mean/deviation of their token: the value that occurs most.
        for (let token = 0; token < numTokens; token++) {
          const counts = new Map<string, number>();
          for (const value of values.slice(token * width, (token + 1) * width))
            counts.set(value.toFixed(9), (counts.get(value.toFixed(9)) ?? 0) + 1);
          const most = Math.max(...counts.values());
          zeros += most;
          total += width;
        }
      }
    });
    // 60 × 25 × 16 = 24,000 draws: standard deviation 0.3 %; a token with no dropped element counts one (+0.02 %).
    assert.ok(Math.abs(zeros / total - 0.3) < 0.012, `rate ${zeros / total}`);
  });

  it('keeps the expectation: the mean over seeds nears the loss without dropout', () => {
    using model = smallModel({ hiddenDropoutProb: 0.02, attentionProbsDropoutProb: 0.02 });
    const options = { computeDType: 'float64' } as const;
    const count = 200;
    let sum = 0;
    for (let dropoutSeed = 0; dropoutSeed < count; dropoutSeed++)
      sum += lossOf(model, { ...options, dropoutSeed });
    const plain = lossOf(model, options);
    assert.ok(Math.abs(sum / count / plain - 1) < 0.03, `${sum / count} against ${plain}`);
  });
});

describe('DropoutSites', () => {
  it('gives every place of every layer its own range of 2^32 counters, the same at each pass', () => {
    const options = { computeDType: 'float64', dropoutSeed: 9 } as const;
    const draw = (): number[] =>
      Array.from({ length: 40 }, (_, layer) => {
        const sites = new DropoutSites(options, layer);
        return Array.from({ length: 5 }, () => sites.next().offset);
      }).flat();
    const offsets = draw();
    assert.deepEqual(draw(), offsets);
    assert.equal(new Set(offsets).size, 200);
    assert.ok(offsets.every((offset) => Number.isSafeInteger(offset) && offset % 2 ** 32 === 0));
  });
});

describe('recomputeLayers', () => {
  for (const variant of modelVariants)
    for (const [parameters, compute] of [
      ['float64', 'float64'],
      ['float32', 'float32'],
      ['float32', 'bfloat16'],
    ] as const)
      it(`gives the same bits, ${JSON.stringify(variant)}, ${parameters}/${compute}`, () => {
        using model = smallModel(variant, { dtype: parameters });
        const options = { computeDType: compute, dropoutSeed: 77 };
        const kept = trainOnce(model, options);
        assert.deepEqual(trainOnce(model, { ...options, recomputeLayers: true }), kept);
        assert.ok(
          kept.size > 60 && [...kept.values()].flat().every(Number.isFinite),
          `${kept.size} gradients`,
        );
      });

  it('gives every parameter but the pooler a gradient', () => {
    using model = smallModel();
    const found = trainOnce(model, { computeDType: 'float64', dropoutSeed: 1, recomputeLayers: true });
    const missing = [...model.parameters.keys()].filter((name) => !found.has(name));
    assert.deepEqual(missing, ['bert.pooler.dense.weight', 'bert.pooler.dense.bias']);
  });
});

describe('switches of the configuration', () => {
  it('doubleFinalNorm normalises the encoder output once more', () => {
    using once = smallModel();
    using twice = smallModel({ doubleFinalNorm: true });
    const weight = once.parameters.get('bert.encoder.LayerNorm.weight')!.toArray();
    const bias = once.parameters.get('bert.encoder.LayerNorm.bias')!.toArray();
    const again = outputsOf(once, pairs, 'float64').encoded.map((values) => {
      const tokens = Array.from({ length: values.length / 16 }, (_, at) =>
        values.slice(at * 16, at * 16 + 16),
      );
      return tokens.flatMap((token) => {
        const mean = token.reduce((sum, value) => sum + value, 0) / 16;
        const variance = token.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 16;
        return token.map(
          (value, at) => ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[at]! + bias[at]!,
        );
      });
    });
    for (const [row, values] of outputsOf(twice, pairs, 'float64').encoded.entries())
      assertClose(values, again[row]!, 1e-12, `row ${row}`);
  });

  it('maskPaddingVocab takes padding ids out of the softmax and changes no other logit', () => {
    using plain = smallModel();
    using masked = smallModel({ maskPaddingVocab: true });
    const [kept, cut] = [plain, masked].map((model) => outputsOf(model, pairs, 'float64'));
    for (const name of ['mlm', 'lm'] as const)
      for (const [row, values] of cut![name].entries())
        for (const [at, value] of values.entries()) {
          const padding = at % 40 >= 33;
          assert.equal(value, padding ? Number.NEGATIVE_INFINITY : kept![name][row]![at]);
        }
    const options = { computeDType: 'float64' } as const;
    assert.ok(lossOf(masked, options) < lossOf(plain, options));
    const gradients = trainOnce(masked, options);
    assert.ok([...gradients.values()].flat().every(Number.isFinite));
    assert.deepEqual(gradients.get('cls.predictions.bias')!.slice(33), new Array(7).fill(0));
    const embedding = gradients.get('bert.embeddings.word_embeddings.weight')!;
    assert.ok(embedding.slice(33 * 16).every((value) => value === 0));
  });

  it('without it padding ids keep their probability', () => {
    using plain = smallModel();
    const gradients = trainOnce(plain, { computeDType: 'float64' });
    assert.ok(gradients.get('cls.predictions.bias')!.every((value) => value !== 0));
  });
});
