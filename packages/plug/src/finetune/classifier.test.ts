// Inputs, batching and files of classifiers and generators.
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { scope } from '@openplug/torch';
import fc from 'fast-check';
import { loadModel } from '../checkpoint/index.js';
import { inference, newParameters, type ParameterSource, packTexts, textBatch } from '../model/index.js';
import { keyedRandom } from '../random.js';
import { encodeTarget, encodeText, longestFirst } from './encoding.js';
import { epochEnds, exampleStream, scoringBatches } from './example-batches.js';
import {
  copyExamples,
  copyTask,
  pairTask,
  springExamples,
  springTask,
  temporaryFolder,
  testTokenizer,
  writeTestModel,
} from './finetune.test-support.js';
import {
  choose,
  evaluateClassifier,
  evaluateGeneration,
  loadClassifier,
  loadGenerator,
  PlugClassifier,
  PlugGenerator,
} from './index.js';

const { cls, sep } = testTokenizer.special;
const id = (character: string) => testTokenizer.tokenToId(character)!;

function newClassifier(folder: string, task = springTask): PlugClassifier {
  const model = loadModel(writeTestModel(folder, { decHiddenLayers: 0, initializerRange: 0.3 }));
  return new PlugClassifier({ model, tokenizer: testTokenizer, task, maxLength: 24, head: newParameters(3) });
}

describe('encoding', () => {
  it('puts pairs as [CLS] A [SEP] B [SEP] with types 0 and 1, and reads markup as text', () => {
    const { inputIds, tokenTypeIds, truncated } = encodeText(
      testTokenizer,
      { text: '春江', textPair: '潮' },
      24,
    );
    assert.deepEqual([...inputIds], [cls, id('春'), id('江'), sep, id('潮'), sep]);
    assert.deepEqual([...tokenTypeIds], [0, 0, 0, 0, 1, 1]);
    assert.equal(truncated, false);
    const spelled = encodeText(testTokenizer, { text: '春[SEP]' }, 24);
    assert.equal([...spelled.inputIds].filter((token) => token === sep).length, 1);
  });

  it('takes from the longer text, one token at a time', () => {
    const byTokens = (first: number, second: number, budget: number): [number, number] => {
      while (first + second > budget) {
        if (first > second) first--;
        else second--;
      }
      return [first, second];
    };
    const length = fc.nat({ max: 40 });
    fc.assert(
      fc.property(length, length, length, (first, second, budget) => {
        assert.deepEqual(longestFirst(first, second, budget), byTokens(first, second, budget));
      }),
    );
    const cut = encodeText(testTokenizer, { text: '春江潮水連', textPair: '海平' }, 8);
    assert.deepEqual([...cut.inputIds], [cls, id('春'), id('江'), id('潮'), sep, id('海'), id('平'), sep]);
    assert.equal(cut.truncated, true);
    const single = encodeText(testTokenizer, { text: '春江潮水連' }, 5);
    assert.deepEqual([...single.inputIds], [cls, id('春'), id('江'), id('潮'), sep]);
  });

  it('ends a target with [SEP] only where the text ends', () => {
    const whole = encodeTarget(testTokenizer, { source: '春', target: '江潮' }, 24, 3);
    assert.deepEqual([...whole.decoderInputIds], [cls, id('江'), id('潮')]);
    assert.deepEqual([...whole.targetIds], [id('江'), id('潮'), sep]);
    assert.equal(whole.truncated, false);
    const cut = encodeTarget(testTokenizer, { source: '春', target: '江潮水' }, 24, 3);
    assert.deepEqual([...cut.decoderInputIds], [cls, id('江'), id('潮')]);
    assert.deepEqual([...cut.targetIds], [id('江'), id('潮'), id('水')]);
    assert.equal(cut.truncated, true);
  });
});

describe('example batches', () => {
  const lengths = Array.from({ length: 100 }, (_, index) => ({
    source: keyedRandom(index).integer(2, 20),
    target: 0,
  }));
  const settings = { seed: 5, tokensPerBatch: 64 };

  it('give every example once an epoch, each epoch in other batches, and end epochs where they say', () => {
    const stream = exampleStream(lengths, settings);
    let from = 0;
    const epochs = epochEnds(lengths, settings, 3).map((end) => {
      const batches = Array.from({ length: end - from }, () => stream.nextBatch());
      from = end;
      return batches;
    });
    for (const batches of epochs)
      assert.deepEqual(
        batches.flat().sort((a, b) => a - b),
        lengths.map((_, index) => index),
      );
    const mates = epochs.map(
      (batches) => new Set(batches.map((batch) => batch.sort((a, b) => a - b).join())),
    );
    const shared = [...mates[0]!].filter((batch) => mates[1]!.has(batch)).length;
    assert.ok(
      shared < mates[0]!.size / 2,
      `${shared} of ${mates[0]!.size} batches are those of the epoch before`,
    );
    const tokens = epochs
      .flat()
      .map((batch) => batch.reduce((sum, index) => sum + lengths[index]!.source, 0));
    assert.ok(Math.max(...tokens) <= 64);
  });

  it('score every example once, however small the budget', () => {
    for (const budget of [1, 50, 10_000])
      assert.deepEqual(
        scoringBatches(lengths, budget)
          .flat()
          .sort((a, b) => a - b),
        lengths.map((_, index) => index),
      );
    assert.deepEqual(scoringBatches([], 10), []);
  });
});

describe('PlugClassifier', () => {
  it('is the sentence head of pre-training when it has its weights', () => {
    const model = loadModel(writeTestModel(temporaryFolder(), { decHiddenLayers: 0, initializerRange: 0.3 }));
    const head: ParameterSource = {
      get: (name) =>
        model.parameters.get(name.replace('classifier', 'cls.seq_relationship'))!.detach().clone(),
    };
    const task = { ...pairTask, labels: ['next', 'previous', 'random'] };
    using classifier = new PlugClassifier({ model, tokenizer: testTokenizer, task, maxLength: 24, head });
    const [prediction] = classifier.predict([{ text: '春江', textPair: '潮水連' }]);
    const ids = [cls, id('春'), id('江'), sep, id('潮'), id('水'), id('連'), sep];
    const wanted = scope(() => {
      const batch = textBatch(packTexts([ids], [[0, 0, 0, 0, 1, 1, 1, 1]]));
      return model.sentenceLogits(model.encode(batch, inference), batch.layout).softmax(-1).toArray();
    });
    for (const [label, probability] of prediction!.probabilities.entries())
      assert.ok(Math.abs(probability - wanted[label]!) < 1e-6);
  });

  it('gives an example the same probabilities alone and among others', () => {
    using classifier = newClassifier(temporaryFolder(), pairTask);
    const examples = springExamples(9, 20).map(({ text }, index) => ({
      text,
      ...(index % 3 > 0 && { textPair: text.slice(1) }),
    }));
    const together = classifier.predict(examples);
    for (const [index, example] of examples.entries()) {
      const [alone] = classifier.predict([example]);
      for (const [label, probability] of alone!.probabilities.entries())
        assert.ok(Math.abs(probability - together[index]!.probabilities[label]!) < 1e-6);
    }
    const spread = together.map(({ probabilities }) => probabilities[0]!);
    assert.ok(Math.max(...spread) - Math.min(...spread) > 1e-3, 'the examples differ at all');
  });

  it('comes back from its folder as it was, and not from a damaged or another one', () => {
    const folder = temporaryFolder();
    using classifier = newClassifier(folder);
    const saved = join(folder, 'saved');
    classifier.save(saved);
    using loaded = loadClassifier(saved);
    const examples = springExamples(4, 10);
    assert.deepEqual(loaded.predict(examples), classifier.predict(examples));
    assert.deepEqual(loaded.task, springTask);
    assert.throws(() => loadGenerator(saved), /was not fine-tuned to generate/);
    assert.throws(() => loadClassifier(join(folder, 'start')), /no task.json of a classification task/);
    writeFileSync(join(saved, 'task.json'), '{"task":{}}');
    assert.throws(() => loadClassifier(saved), { code: 'CHECKPOINT' });
    classifier.save(saved);
    rmSync(join(saved, 'classifier.safetensors'));
    assert.throws(() => loadClassifier(saved), { code: 'CHECKPOINT' });
  });

  it('is scored with confusion and loss that agree with its predictions', () => {
    using classifier = newClassifier(temporaryFolder());
    const examples = [...springExamples(5, 15), { text: '春'.repeat(40), label: 1 }];
    const { scores, predictions } = evaluateClassifier(classifier, examples, { tokensPerBatch: 40 });
    const predicted = classifier.predict(examples);
    assert.deepEqual(
      [...predictions],
      predicted.map(({ labelIndex }) => labelIndex),
    );
    assert.equal(
      scores.confusion.flat().reduce((a, b) => a + b),
      16,
    );
    assert.equal((scores.confusion[0]![0]! + scores.confusion[1]![1]!) / 16, scores.accuracy);
    assert.deepEqual(
      scores.confusion.map((row) => row.reduce((a, b) => a + b)),
      [8, 8],
    );
    const nats = examples.map(({ label }, index) => -Math.log(predicted[index]!.probabilities[label]!));
    assert.ok(Math.abs(scores.loss - nats.reduce((a, b) => a + b) / 16) < 1e-6);
    assert.equal(scores.truncated, 1);
  });
});

describe('PlugGenerator', () => {
  it('scores by character and by token, and chooses what it finds more probable', () => {
    const model = loadModel(writeTestModel(temporaryFolder(), { initializerRange: 0.3 }));
    using generator = new PlugGenerator(model, testTokenizer, copyTask, {
      maxLength: 24,
      maxTargetLength: 5,
    });
    const examples = [...copyExamples(1, 9), { source: '春', target: '江潮水連海平' }];
    const { scores, targets } = evaluateGeneration(generator, examples, { tokensPerBatch: 30 });
    assert.equal(scores.characters, 9 * 3 + 5, 'of the cut target the first five');
    assert.equal(scores.tokens, 9 * 4 + 5, 'an end for each whole target');
    assert.equal(scores.truncated, 1);
    const bits = targets.reduce((sum, target) => sum + target.textNats, 0) / Math.LN2 / 32;
    assert.ok(Math.abs(scores.bitsPerCharacter - bits) < 1e-9);
    assert.ok(Math.abs(scores.perplexity - Math.exp(scores.loss)) < 1e-9);
    for (const [index, example] of examples.entries()) {
      const [alone] = generator.score([example]);
      assert.ok(Math.abs(alone!.nats - targets[index]!.nats) < 1e-4);
      assert.ok(alone!.truncated || alone!.nats > alone!.textNats, 'the end costs something');
    }
    const candidates = ['春', '江潮', '水'];
    const nats = generator
      .score(candidates.map((target) => ({ source: '海', target })))
      .map((score) => score.nats);
    const best = nats.indexOf(Math.min(...nats));
    const { scores: chosen, choices } = choose(generator, [
      { source: '海', candidates, answer: best },
      { source: '海', candidates, answer: (best + 1) % 3 },
    ]);
    assert.deepEqual([...choices], [best, best]);
    assert.equal(chosen.accuracy, 0.5);
    assert.throws(
      () => choose(generator, [{ source: '海', candidates, answer: 3 }]),
      /answer 3 is none of its 3/,
    );
  });
});
