// Whole runs: learning, stopping, interruption, and what is left in the folder.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { liveTensorCount } from '@openplug/torch';
import type { MetricsLine } from '../train/index.js';
import {
  copyExamples,
  copyTask,
  pairTask,
  springExamples,
  springTask,
  temporaryFolder,
  writeTestModel,
} from './finetune.test-support.js';
import {
  choose,
  evaluateClassifier,
  evaluateGeneration,
  type FinetuneSettings,
  finetune,
  loadClassifier,
  loadGenerator,
} from './index.js';

const base = { tokensPerBatch: 128, learningRate: 3e-3, threads: 1, dtype: 'float32' } as const;
const spring = { train: springExamples(1, 64), dev: springExamples(2, 32) };

function weights(folder: string): Buffer[] {
  return ['model.safetensors', 'classifier.safetensors'].map((file) => readFileSync(join(folder, file)));
}

describe('finetune: classification', () => {
  it('learns a separable task, keeps the model and says so when asked again', async () => {
    const folder = temporaryFolder();
    const settings: FinetuneSettings = {
      ...base,
      model: writeTestModel(folder),
      out: join(folder, 'run'),
      epochs: 12,
      patience: 0,
    };
    const before = liveTensorCount();
    const result = await finetune(springTask, { ...spring, test: springExamples(3, 32) }, settings);
    assert.equal(liveTensorCount(), before, 'every tensor of the run is disposed of');
    assert.ok(result.finished && !result.alreadyDone);
    assert.ok(result.test!.accuracy > 0.9, `test accuracy ${result.test!.accuracy}`);
    using classifier = loadClassifier(settings.out);
    assert.equal(evaluateClassifier(classifier, spring.train).scores.accuracy, 1);
    const { scores } = evaluateClassifier(classifier, spring.dev);
    assert.equal(scores.accuracy, result.dev!.accuracy, 'the kept model is the one that was scored');
    assert.equal(scores.accuracy, result.best.accuracy, 'and the one of the best evaluation');
    assert.ok(!existsSync(join(folder, 'run', 'best')));

    const again = await finetune(springTask, { ...spring, test: springExamples(3, 32) }, settings);
    assert.deepEqual(again, { ...result, alreadyDone: true });
    await assert.rejects(
      finetune(springTask, { ...spring, train: spring.train.slice(1) }, settings),
      /holds a run with examples/,
    );
  });

  it('continues an interrupted run to the same bits', async () => {
    const folder = temporaryFolder();
    const settings = {
      ...base,
      model: writeTestModel(folder),
      epochs: 3,
      saveEvery: 2,
      evaluateEvery: 3,
      patience: 0,
    };
    const whole = await finetune(springTask, spring, { ...settings, out: join(folder, 'whole') });
    assert.ok(whole.finished);
    const out = join(folder, 'parts');
    let starts = 0;
    for (;;) {
      const stop = new AbortController();
      let steps = 0;
      const listener = { onStep: () => void (++steps === 4 && stop.abort()) };
      const part = await finetune(springTask, spring, { ...settings, out }, listener, stop.signal);
      starts++;
      if (!part.finished) {
        // As after kill -9: the last checkpoint is gone and the run goes back to the one before, if any is left.
        if (starts === 2)
          rmSync(join(out, 'checkpoints', `step-${String(part.step).padStart(8, '0')}`), { recursive: true });
        continue;
      }
      const { plan: _, ...rest } = part;
      const { plan: __, ...wanted } = whole;
      assert.deepEqual(rest, { ...wanted, model: join(out, 'model') });
      break;
    }
    assert.ok(starts > 2, `${starts} starts`);
    assert.deepEqual(weights(join(out, 'model')), weights(join(folder, 'whole', 'model')));
  });

  it('keeps the best model of a run that gets worse, and stops waiting', async () => {
    const folder = temporaryFolder();
    // Dev labels that contradict what is learned: every evaluation is worse than the first.
    const dev = spring.train.map(({ text, label }) => ({ text, label: 1 - label }));
    const evaluations: MetricsLine[] = [];
    const result = await finetune(
      springTask,
      { train: spring.train, dev },
      { ...base, model: writeTestModel(folder), out: join(folder, 'run'), epochs: 30, patience: 6 },
      { onEvaluate: (line) => void evaluations.push(line) },
    );
    assert.ok(result.finished && result.stoppedEarly);
    const best = Math.max(...evaluations.map((line) => Number(line.accuracy)));
    assert.ok(Number(evaluations.at(-1)!.accuracy) < best, 'the last evaluation is worse than the best');
    assert.equal(evaluations.length, evaluations.findIndex(({ step }) => step === result.best.step) + 1 + 6);
    assert.equal(result.dev!.accuracy, best);
    using classifier = loadClassifier(result.model);
    assert.equal(evaluateClassifier(classifier, dev).scores.accuracy, best);
  });

  it('stays stopped when the end of an early stopped run is done again', async () => {
    const folder = temporaryFolder();
    const dev = spring.train.map(({ text, label }) => ({ text, label: 1 - label }));
    const settings = {
      ...base,
      model: writeTestModel(folder),
      out: join(folder, 'run'),
      epochs: 30,
      patience: 2,
    };
    const data = { train: spring.train, dev };
    const first = await finetune(springTask, data, settings);
    rmSync(join(settings.out, 'result.json'));
    const second = await finetune(springTask, data, settings, {
      onStep: () => assert.fail('a step was taken'),
    });
    assert.deepEqual(second, first);
  });

  it('starts the head from the rows of the sentence head', async () => {
    const folder = temporaryFolder();
    const settings = { ...base, model: writeTestModel(folder), maxSteps: 1, learningRate: 1e-30 };
    const data = { train: [{ text: '春江', textPair: '江潮', label: 1 }] };
    const run = { ...settings, out: join(folder, 'run'), initialHead: 'sentence' } as const;
    const result = await finetune(pairTask, data, run);
    assert.ok(result.finished);
    using classifier = loadClassifier(result.model);
    const relation = classifier.parameters.get('cls.seq_relationship.weight')!.toArray();
    const head = classifier.parameters.get('classifier.weight')!.toArray();
    assert.deepEqual(head, [...relation.slice(64, 96), ...relation.slice(0, 32)], 'rows random and next');
    await assert.rejects(
      finetune(springTask, { train: springExamples(1, 4) }, { ...run, out: join(folder, 'other') }),
      /sentenceClasses/,
    );
  });

  it('refuses examples of another kind, labels that do not exist, and too small a budget', async () => {
    const folder = temporaryFolder();
    const settings = { ...base, model: writeTestModel(folder), out: join(folder, 'run') };
    const run = (train: { text: string; label: number }[], more: object = {}) =>
      finetune(springTask, { train }, { ...settings, ...more });
    await assert.rejects(run([{ text: '春', label: 2 }]), /train example 0 of spring has label 2/);
    await assert.rejects(run([{ text: ' ', label: 1 }]), /empty text/);
    await assert.rejects(run([]), /no training examples/);
    await assert.rejects(
      run(spring.train, { maxLength: 25 }),
      /maxLength is 25, but the model has 24 positions/,
    );
    const long = [{ text: '春'.repeat(30), label: 1 }];
    const small = { ...settings, tokensPerBatch: 16, out: join(folder, 'small') };
    await assert.rejects(finetune(springTask, { train: long }, small), /tokensPerBatch is 16.*24 tokens/);
  });
});

describe('finetune: generation', () => {
  it('learns to write from the source, and chooses by it', async () => {
    const folder = temporaryFolder();
    const data = { train: copyExamples(1, 128), dev: copyExamples(2, 24) };
    const result = await finetune(copyTask, data, {
      ...base,
      model: writeTestModel(folder, { hiddenDropoutProb: 0, attentionProbsDropoutProb: 0 }),
      out: join(folder, 'run'),
      epochs: 30,
      tokensPerBatch: 256,
      patience: 0,
    });
    assert.ok(result.finished);
    using generator = loadGenerator(result.model);
    const { scores } = evaluateGeneration(generator, data.dev);
    assert.ok(Math.abs(scores.loss - Number(result.best.loss)) < 1e-6);
    // One of 11 characters, three times: a model that does not read the source pays log2(11) / 3 at least.
    assert.ok(scores.bitsPerCharacter < 0.6, `bits per character ${scores.bitsPerCharacter}`);
    const choices = data.dev.map(({ source, target }, index) => {
      const wrong = [...'春江潮水'].map((character) => character.repeat(3)).filter((text) => text !== target);
      const answer = index % 3;
      return { source, candidates: wrong.slice(0, 3).toSpliced(answer, 0, target), answer };
    });
    assert.ok(choose(generator, choices).scores.accuracy > 0.8);
  });

  it('refuses a model without a decoder', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder, { decHiddenLayers: 0 });
    await assert.rejects(
      finetune(copyTask, { train: copyExamples(1, 4) }, { ...base, model, out: join(folder, 'run') }),
      /no decoder/,
    );
  });
});
