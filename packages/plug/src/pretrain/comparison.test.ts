// The comparison of two models against a recomputation text by text, with softmax and sums in plain numbers.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noGrad, scope, type Tensor } from '@openplug/torch';
import {
  indexTensor,
  newParameters,
  type PlugConfig,
  PlugModel,
  packTexts,
  plugConfigOfSize,
  textBatch,
} from '../model/index.js';
import {
  charactersOf,
  compareLm,
  compareMaskedLm,
  type ModelPair,
  type PredictionComparison,
} from './index.js';
import { testTokenCorpus, testTokenizer } from './pretrain.test-support.js';
import { createStage1Sampler, createStage2Sampler, labelKind } from './samples/index.js';

const options = { computeDType: 'float64' } as const;
// More batches than there are: all of the epoch is scored.
const settings = { seed: 3, tokensPerBatch: 90, evaluationBatches: 1000 };
const corpus = testTokenCorpus(12);

/** Two models with different weights. */
function pairOf(changes: Partial<PlugConfig> = {}): ModelPair & Disposable {
  const config = plugConfigOfSize('nano', testTokenizer.vocabSize, {
    maxPositionEmbeddings: 32,
    initializerRange: 0.2,
    ...changes,
  });
  const models = [1, 2].map((seed) => new PlugModel(config, newParameters(seed, 'float64')));
  const [source, model] = models.map((made) => ({ model: made, options }));
  return {
    source: source!,
    model: model!,
    [Symbol.dispose]() {
      for (const made of models) made[Symbol.dispose]();
    },
  };
}

/** Softmax of a row; of its first `kept` columns alone. */
function softmax(row: readonly number[], kept: number): number[] {
  const top = Math.max(...row.slice(0, kept));
  const powers = row.slice(0, kept).map((logit) => Math.exp(logit - top));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** What two models say of labels, added up. */
class Recomputed {
  agreeing = 0;
  klDivergence = 0;
  positions = 0;
  readonly nats = [0, 0];

  add(both: readonly Tensor[], labels: ArrayLike<number>, kept: number): void {
    const [ps, qs] = both.map((logits) => {
      const [values, width] = [logits.toArray(), logits.shape[1]!];
      return Array.from({ length: labels.length }, (_, at) =>
        softmax(values.slice(at * width, (at + 1) * width), kept),
      );
    });
    for (let at = 0; at < labels.length; at++) {
      const [p, q, label] = [ps![at]!, qs![at]!, labels[at]!];
      this.positions++;
      if (p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q))) this.agreeing++;
      this.klDivergence += p.reduce((sum, share, id) => sum + share * Math.log(share / q[id]!), 0);
      this.nats[0]! -= Math.log(p[label]!);
      this.nats[1]! -= Math.log(q[label]!);
    }
  }

  assertEquals(got: PredictionComparison | undefined): void {
    const n = this.positions;
    const [source, model] = this.nats.map((nats) => nats / n) as [number, number];
    assert.equal(got?.positions, n);
    for (const [name, value, wanted] of [
      ['agreement', got.agreement, this.agreeing / n],
      ['KL divergence', got.klDivergence, this.klDivergence / n],
      ['loss of the source', got.source.loss, source],
      ['loss of the model', got.model.loss, model],
      ['perplexity', got.model.perplexity, Math.exp(model)],
      ['change', got.perplexityChangePercent, 100 * (Math.exp(model) / Math.exp(source) - 1)],
    ] as const)
      assert.ok(Math.abs(value - wanted) <= 1e-9 * Math.abs(wanted), `${name}: ${value} for ${wanted}`);
  }
}

describe('comparison of two models on held-out batches', () => {
  for (const maskPaddingVocab of [false, true])
    it(`is that of each text alone (padding entries masked: ${maskPaddingVocab})`, () => {
      using pair = pairOf({ maskPaddingVocab });
      const { vocabSize, originalVocabSize } = pair.model.model.config;
      assert.ok(vocabSize > originalVocabSize);
      const kept = maskPaddingVocab ? originalVocabSize : vocabSize;
      const models = [pair.source.model, pair.model.model];
      const cuts = createStage2Sampler(corpus, testTokenizer, { seed: 0, minLength: 3, maxLength: 10 });
      const pairs = createStage1Sampler(corpus, testTokenizer, { seed: 0, maxLength: 24 });
      const [lm, masked] = [new Recomputed(), new Recomputed()];
      noGrad(() => {
        for (let index = 0; index < cuts.samplesPerEpoch; index++)
          scope(() => {
            const { sourceIds, decoderInputIds, targetIds } = cuts.sample(index, { maskSource: false });
            const source = textBatch(packTexts([sourceIds]));
            const target = textBatch(packTexts([decoderInputIds]));
            const logits = models.map((model) =>
              model.lmLogits(
                model.decode(target, model.encode(source, options), source.layout, options),
                options,
              ),
            );
            lm.add(logits, targetIds, kept);
          });
        for (let index = 0; index < pairs.samplesPerEpoch; index++)
          scope(() => {
            const { inputIds, tokenTypeIds, labelPositions, labels, labelKinds } = pairs.sample(index);
            const source = textBatch(packTexts([inputIds], [tokenTypeIds]));
            const isMasked = (_: number, at: number): boolean => labelKinds[at] === labelKind.masked;
            const places = labelPositions.filter(isMasked);
            if (places.length === 0) return;
            const logits = models.map((model) =>
              model.mlmLogits(model.encode(source, options).indexSelect(0, indexTensor(places)), options),
            );
            masked.add(logits, labels.filter(isMasked), kept);
          });
      });
      assert.ok(lm.positions > 100 && masked.positions > 50, `${lm.positions}, ${masked.positions}`);
      const got = compareLm(pair, cuts, settings, charactersOf(testTokenizer));
      lm.assertEquals(got);
      assert.ok(got!.source.bitsPerCharacter! > 0);
      const gotMasked = compareMaskedLm(pair, pairs, settings);
      masked.assertEquals(gotMasked);
      assert.equal(gotMasked!.source.bitsPerCharacter, undefined);
    });
});
