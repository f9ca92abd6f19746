// Words scored by the decoder: the same as each by itself, calibrated as the formula says, and learned from few examples.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { liveTensorCount, noGrad, scope } from '@openplug/torch';
import { newParameters, PlugModel, packTexts, plugConfig, textBatch } from '../model/index.js';
import { type ScoredSource, scoreContinuations } from './candidates.js';
import { springExamples, temporaryFolder, testTokenizer, writeTestModel } from './finetune.test-support.js';
import { chooseShots, evaluateFewShot, evaluateZeroShot } from './shots.js';
import type { ChoiceTask, ClassificationTask } from './task.js';
import { builtInTasks } from './tasks/built-in.js';
import { predictZeroShot, verbalize } from './zero-shot.js';

const spring: ClassificationTask = {
  name: 'spring',
  kind: 'classification',
  columns: { text: 'line', label: 'season' },
  labels: ['other', 'spring'],
  prompt: { source: '{text}生', before: '月', words: ['海平', '春'] },
  metric: 'accuracy',
};
const gap: ChoiceTask = {
  name: 'gap',
  kind: 'choice',
  columns: { text: 't', candidates: 'c', answer: 'a' },
  place: '#',
  metric: 'accuracy',
};

const config = plugConfig({
  vocabSize: testTokenizer.vocabSize,
  hiddenSize: 16,
  numAttentionHeads: 2,
  numHiddenLayers: 1,
  decHiddenLayers: 2,
  maxPositionEmbeddings: 24,
  initializerRange: 0.4,
});
const model = new PlugModel(config, newParameters(5, 'float64'));
const options = { computeDType: 'float64' } as const;
const { cls, sep } = testTokenizer.special;

/** By a plain pass over source and whole target. */
function direct({ sourceIds, before }: ScoredSource, continuation: readonly number[]): number {
  return scope(() =>
    noGrad(() => {
      const source = textBatch(packTexts([sourceIds]));
      const target = [...before, ...continuation];
      const inputs = textBatch(packTexts([[cls, ...target.slice(0, -1)]]));
      const states = model.decode(inputs, model.encode(source, options), source.layout, options);
      const rows = model.lmLogits(states, options).logSoftmax(-1).toArray();
      const width = config.vocabSize;
      return target.reduce((sum, id, at) => (at < before.length ? sum : sum + rows[at * width + id]!), 0);
    }),
  );
}

describe('scoreContinuations', () => {
  it('gives each continuation what a pass of its own does, whatever else is in the batch', () => {
    const sources: ScoredSource[] = [
      { sourceIds: [cls, 6, 7, 8, sep], before: [9, 10], continuations: [[5], [5, 6, 7], [11, 12]] },
      { sourceIds: [cls, 12, sep], before: [9, 11], continuations: [[7, 7], [8]] },
    ];
    const before = liveTensorCount();
    const scores = scoreContinuations(model, testTokenizer, sources, options);
    assert.equal(liveTensorCount(), before);
    for (const [at, source] of sources.entries())
      for (const [index, continuation] of source.continuations.entries())
        assert.ok(Math.abs(scores[at]![index]! - direct(source, continuation)) < 1e-5, `${at} ${index}`);
  });
});

describe('predictZeroShot', () => {
  const ids = (text: string) => [...testTokenizer.encode(text)];
  const source = (text: string) => [cls, ...ids(text), sep];

  it('is the softmax of the words’ log-probabilities, less those without a text', () => {
    const texts = ['春江', '海上月'].map((text) => ({ text }));
    const scoresOf = (text: string) =>
      spring.prompt!.words.map((word) =>
        direct({ sourceIds: source(text), before: ids('月'), continuations: [] }, ids(word)),
      );
    for (const calibrate of [false, true]) {
      const predictions = predictZeroShot(model, testTokenizer, spring, texts, {
        forward: options,
        calibrate,
      });
      for (const [index, { text }] of texts.entries()) {
        const none = scoresOf('无');
        const [a, b] = scoresOf(`${text}生`).map((score, at) => score - (calibrate ? none[at]! : 0)) as [
          number,
          number,
        ];
        const { choice, probabilities } = predictions[index]!;
        assert.ok(Math.abs(probabilities[1]! - 1 / (1 + Math.exp(a - b))) < 1e-5);
        assert.equal(choice, a >= b ? 0 : 1);
      }
    }
  });

  it('judges a candidate with what follows its place', () => {
    const { source, candidates } = verbalize(gap, { text: '春#潮水', candidates: ['江', '海'] });
    assert.deepEqual([source, candidates], ['春', ['江潮水', '海潮水']]);
    const { source: none } = verbalize(gap, { text: '#潮水', candidates: ['江', '海'] });
    assert.equal(none, '，');
  });
});

describe('shots', () => {
  it('are as many of each label, the same for a seed, and an error when there are too few', () => {
    const train = springExamples(1, 20);
    const chosen = chooseShots(spring, train, 4, 7);
    assert.deepEqual(
      [0, 1].map((label) => chosen.filter((example) => example.label === label).length),
      [4, 4],
    );
    assert.deepEqual(chooseShots(spring, train, 4, 7), chosen);
    assert.notDeepEqual(chooseShots(spring, train, 4, 8), chosen);
    assert.throws(() => chooseShots(spring, train, 11, 1), /has 10 of the label other/);
  });

  it('teach a model that knew nothing', async () => {
    const folder = temporaryFolder();
    const start = writeTestModel(folder);
    const test = springExamples(3, 60);
    const zero = evaluateZeroShot(start, spring, test);
    const settings = {
      model: start,
      out: join(folder, 'run'),
      shots: 40,
      epochs: 40,
      tokensPerBatch: 256,
      learningRate: 3e-3,
      threads: 1,
      dtype: 'float32',
    } as const;
    const few = await evaluateFewShot(spring, springExamples(1, 80), test, settings, { calibrate: false });
    assert.equal(few!.trained, 80);
    assert.ok(
      few!.accuracy > 0.9 && few!.accuracy > zero.accuracy,
      `${few!.accuracy} after ${zero.accuracy}`,
    );
  });

  it('have words for every built-in classification', () => {
    for (const task of builtInTasks)
      if (task.kind === 'classification') {
        assert.equal(task.prompt!.words.length, task.labels.length, task.name);
        assert.equal(new Set(task.prompt!.words).size, task.labels.length, task.name);
      }
  });
});
