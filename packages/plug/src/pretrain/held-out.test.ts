// Held-out scores against a recomputation text by text, with softmax and sums in plain numbers.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noGrad, scope } from '@openplug/torch';
import {
  indexTensor,
  newParameters,
  PlugModel,
  packTexts,
  plugConfigOfSize,
  textBatch,
} from '../model/index.js';
import { charactersOf, stage1Objective, stage2Objective } from './index.js';
import { testTokenCorpus, testTokenizer } from './pretrain.test-support.js';
import { createStage1Sampler, createStage2Sampler, labelKind } from './samples/index.js';

const options = { computeDType: 'float64' } as const;
// More batches than there are: all of the epoch is scored.
const settings = { seed: 3, tokensPerBatch: 90, evaluationBatches: 1000 };
const config = plugConfigOfSize('nano', testTokenizer.vocabSize, {
  maxPositionEmbeddings: 32,
  initializerRange: 0.2,
});
const corpus = testTokenCorpus(12);

/** −ln softmax of one label, and whether it is the arg max. */
function score(logits: readonly number[], label: number): { loss: number; right: number } {
  const top = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - top), 0);
  return { loss: top + Math.log(sum) - logits[label]!, right: logits.indexOf(top) === label ? 1 : 0 };
}

function rowsOf(values: readonly number[], width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, row) =>
    values.slice(row * width, (row + 1) * width),
  );
}

function assertClose(got: Record<string, number>, wanted: Record<string, number>): void {
  assert.deepEqual(Object.keys(got).sort(), Object.keys(wanted).sort());
  for (const [name, value] of Object.entries(wanted))
    assert.ok(Math.abs(got[name]! - value) <= 1e-10 * Math.abs(value), `${name}: ${got[name]} for ${value}`);
}

describe('held-out scores', () => {
  it('of the language model are those of each text alone, [UNK] counted as the one character it stands for', () => {
    using model = new PlugModel(config, newParameters(2, 'float64'));
    const sampler = createStage2Sampler(corpus, testTokenizer, { seed: 0, minLength: 3, maxLength: 10 });
    let [nats, tokens, textNats, characters, unknown, labels, right] = [0, 0, 0, 0, 0, 0, 0];
    noGrad(() => {
      for (let index = 0; index < sampler.samplesPerEpoch; index++)
        scope(() => {
          const { sourceIds, decoderInputIds, targetIds } = sampler.sample(index, { maskSource: false });
          const source = textBatch(packTexts([sourceIds]));
          const decoded = model.decode(
            textBatch(packTexts([decoderInputIds])),
            model.encode(source, options),
            source.layout,
            options,
          );
          const logits = model.lmLogits(decoded, options);
          for (const [at, row] of rowsOf(logits.toArray(), logits.shape[1]!).entries()) {
            const { loss } = score(row, targetIds[at]!);
            nats += loss;
            tokens++;
            if (at === targetIds.length - 1) continue; // [SEP] is no character
            textNats += loss;
            // Every other entry of the test's texts is one character long.
            characters++;
            if (targetIds[at] === testTokenizer.special.unk) unknown++;
          }
          const masked = sampler.sample(index, { maskSource: true });
          const encoded = model.encode(textBatch(packTexts([masked.sourceIds])), options);
          const mlm = model.mlmLogits(encoded.indexSelect(0, indexTensor(masked.labelPositions)), options);
          for (const [at, row] of rowsOf(mlm.toArray(), mlm.shape[1]!).entries()) {
            labels++;
            right += score(row, masked.labels[at]!).right;
          }
        });
    });
    assert.ok(unknown > 10, `${unknown} unknown characters`);
    const objective = stage2Objective(
      model,
      sampler,
      sampler,
      { ...settings, mlmUntilStep: 1 },
      charactersOf(testTokenizer),
    );
    const before = objective.position();
    assertClose(objective.evaluate(options), {
      lmLoss: nats / tokens,
      perplexity: Math.exp(nats / tokens),
      bitsPerCharacter: textNats / Math.log(2) / characters,
      mlmAccuracy: right / labels,
    });
    assert.deepEqual(objective.position(), before, 'training goes on where it was');
  });

  it('of the encoder are those of each text alone', () => {
    using model = new PlugModel({ ...config, decHiddenLayers: 0 }, newParameters(1, 'float64'));
    const sampler = createStage1Sampler(corpus, testTokenizer, { seed: 0, maxLength: 24 });
    const masked = { count: 0, right: 0, loss: 0 };
    const order = { count: 0, right: 0, loss: 0 };
    let sentencesRight = 0;
    noGrad(() => {
      for (let index = 0; index < sampler.samplesPerEpoch; index++)
        scope(() => {
          const sample = sampler.sample(index);
          const source = textBatch(packTexts([sample.inputIds], [sample.tokenTypeIds]));
          const encoded = model.encode(source, options);
          sentencesRight += score(
            model.sentenceLogits(encoded, source.layout).toArray(),
            sample.sentenceLabel,
          ).right;
          const logits = model.mlmLogits(encoded, options);
          const rows = rowsOf(logits.toArray(), logits.shape[1]!);
          for (const [at, position] of sample.labelPositions.entries()) {
            const sums = sample.labelKinds[at] === labelKind.masked ? masked : order;
            const { loss, right } = score(rows[position]!, sample.labels[at]!);
            sums.count++;
            sums.right += right;
            sums.loss += loss;
          }
        });
    });
    assert.ok(masked.count > 50 && order.count > 10, `${masked.count} masked, ${order.count} shuffled`);
    const objective = stage1Objective(model, sampler, sampler, settings);
    assertClose(objective.evaluate(options), {
      mlmAccuracy: masked.right / masked.count,
      mlmLoss: masked.loss / masked.count,
      wordOrderAccuracy: order.right / order.count,
      sentenceAccuracy: sentencesRight / sampler.samplesPerEpoch,
    });
  });
});

describe('charactersOf', () => {
  it('counts what an entry stands for', () => {
    const count = charactersOf(testTokenizer);
    for (const [token, characters] of [
      ['春', 1],
      ['##平', 1],
      ['moon', 4],
      ['[UNK]', 1],
    ] as const)
      assert.equal(count(testTokenizer.tokenToId(token)!), characters, token);
  });
});
