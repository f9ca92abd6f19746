// Saliency: where it is known what matters, that has the largest effect; effects are those of a mask put in by hand.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { noGrad } from '@openplug/torch';
import { loadModel } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import {
  pairTask,
  springExamples,
  springTask,
  temporaryFolder,
  testTokenizer,
  writeTestModel,
} from '../finetune/finetune.test-support.js';
import { finetune, loadClassifier } from '../finetune/index.js';
import { promptPredictor } from '../finetune/zero-shot.js';
import { inference } from '../model/index.js';
import {
  explainClassifier,
  explainLabels,
  labeller,
  maxExplainedUnits,
  type Saliency,
  type SaliencyUnit,
} from './index.js';

const folder = temporaryFolder();
const model = writeTestModel(folder, { maxPositionEmbeddings: 24 });
const settings = {
  model,
  tokensPerBatch: 128,
  learningRate: 3e-3,
  threads: 1,
  dtype: 'float32',
  maxLength: 24,
} as const;
const { cls, sep, mask } = testTokenizer.special;

function finished(work: Generator<undefined, Saliency, undefined>): Saliency {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

function most(units: readonly SaliencyUnit[]): SaliencyUnit {
  return units.reduce((best, unit) => ((unit.effect ?? 0) > (best.effect ?? 0) ? unit : best));
}

describe('saliency of a classifier', () => {
  it('finds the one character that decides', async () => {
    const out = join(folder, 'spring');
    await finetune(springTask, { train: springExamples(1, 64) }, { ...settings, out, epochs: 20 });
    using classifier = loadClassifier(out);
    for (const { text } of springExamples(3, 16).filter(({ label }) => label === 1)) {
      const { label, units, probability } = finished(explainClassifier(classifier, { text }));
      assert.equal(label, 'spring', text);
      assert.deepEqual(
        units.map(({ start, end }) => text.slice(start, end)),
        [...text],
      );
      const { start, end, effect, maskedProbability } = most(units);
      assert.equal(text.slice(start, end), '春', JSON.stringify(units));
      assert.ok(effect! > 1 && maskedProbability! < 0.5 && probability > 0.5);
      const against = finished(explainClassifier(classifier, { text, label: 'other' }));
      assert.equal(most(against.units.map((unit) => ({ ...unit, effect: -unit.effect! }))).start, start);
    }
  });

  it('masks the right places of both texts of a pair, and tells what was cut', async () => {
    const out = join(folder, 'pair');
    const train = [
      { text: '春江', textPair: '江水', label: 1 },
      { text: '月明', textPair: '海平', label: 0 },
    ];
    await finetune(pairTask, { train }, { ...settings, out, maxSteps: 2 });
    using classifier = loadClassifier(out);
    const [text, textPair] = ['春 江潮', '水𠮷平'];
    const { units, label } = finished(explainClassifier(classifier, { text, textPair }));
    assert.deepEqual(
      units.map(({ text: of, start, end }) => [of, start, end]),
      [
        [0, 0, 1],
        [0, 2, 3],
        [0, 3, 4],
        [1, 0, 1],
        [1, 1, 3],
        [1, 3, 4],
      ],
    );
    const ids = [cls, ...testTokenizer.encode(text), sep, ...testTokenizer.encode(textPair), sep];
    for (const [at, place] of [1, 2, 3, 5, 6, 7].entries()) {
      const inputIds = Int32Array.from(ids, (id, index) => (index === place ? mask : id));
      const encoded = { inputIds, tokenTypeIds: Uint8Array.of(0, 0, 0, 0, 0, 1, 1, 1, 1), truncated: false };
      using logits = noGrad(() => classifier.logits([encoded], inference));
      const weights = logits.toArray().map(Math.exp);
      const expected = weights[pairTask.labels.indexOf(label)]! / (weights[0]! + weights[1]!);
      assert.ok(Math.abs(units[at]!.maskedProbability! - expected) < 1e-5, `unit ${at}`);
    }
    const long = finished(explainClassifier(classifier, { text: '春'.repeat(30), textPair: '江' }));
    const read = long.units.map(({ effect }) => effect !== null);
    assert.equal(read.filter(Boolean).length, 24 - 3, 'all places but [CLS] and both [SEP]');
    assert.deepEqual([read[0], read[29], read[30]], [true, false, true]);
  });
});

describe('saliency of labels without fine-tuning', () => {
  const options = { labels: ['春江', '海'], source: '月{text}平', before: '明' };

  it('is of the text alone, by the probabilities that labels have', () => {
    using own = loadModel(model, { precision: 'float32' });
    const text = '江潮水';
    const found = finished(explainLabels(own, testTokenizer, options, { text }));
    const [expected] = labeller(own, testTokenizer, options)([text]);
    assert.deepEqual(found.labels, expected!.labels);
    assert.deepEqual(
      found.units.map(({ start, end }) => [start, end]),
      [
        [0, 1],
        [1, 2],
        [2, 3],
      ],
    );
    const source = testTokenizer.encode('月江潮水平');
    source[2] = mask;
    const prompt = { source, before: '明', candidates: options.labels };
    const [by] = promptPredictor(own, testTokenizer, true)([prompt]);
    const masked = by!.probabilities[options.labels.indexOf(found.label)]!;
    assert.ok(Math.abs(found.units[1]!.maskedProbability! - masked) < 1e-6);
    assert.ok(Math.abs(found.units[1]!.effect! - Math.log(found.probability / masked)) < 1e-5);
  });

  it('tells that the beginning of a long text was not read', () => {
    using own = loadModel(model, { precision: 'float32' });
    const { units } = finished(explainLabels(own, testTokenizer, options, { text: '江'.repeat(30) }));
    assert.deepEqual(
      [units[0]!.effect, units[8]!.effect, units[9]!.effect === null],
      [null, null, false],
      'of 32 tokens the last 22 are read',
    );
  });

  it('refuses unknown labels and more than it can explain', () => {
    using long = loadModel(writeTestModel(join(folder, 'long'), { maxPositionEmbeddings: 300 }), {
      precision: 'float32',
    });
    const refused = (input: { text: string; label?: string }, message: RegExp): void =>
      assert.throws(
        () => explainLabels(long, testTokenizer, options, input),
        (error) => error instanceof ConfigError && message.test(error.message),
      );
    refused({ text: '江', label: '山' }, /none of the labels/);
    refused({ text: '江'.repeat(maxExplainedUnits + 1) }, /257 characters and words; at most 256/);
  });
});
