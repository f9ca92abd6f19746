// Choosing and reading: learning, independence of batch mates, gradients, windows, and what comes back from a folder.
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { backward, liveTensorCount, nn, noGrad, scope, tensor } from '@openplug/torch';
import fc from 'fast-check';
import { indexTensor, newParameters, PlugModel, plugConfig } from '../model/index.js';
import { keyedRandom } from '../random.js';
import { PlugChooser } from './chooser.js';
import { paddedRows } from './encoder-task.js';
import { evaluateChooser, evaluateSpanReader } from './evaluation.js';
import type { ChoiceExample, SpanExample } from './examples.js';
import { finetune } from './finetune.js';
import { temporaryFolder, testTokenizer, writeTestModel } from './finetune.test-support.js';
import { loadTaskModel } from './kinds.js';
import { PlugSpanReader } from './span-reader.js';
import type { ChoiceTask, SpanTask } from './task.js';
import { locatedTokens, tokensWithin } from './text-units.js';

const characters = [...'春江潮水連海平明月共生'];
const forward = { computeDType: 'float64' } as const;

const choiceTask: ChoiceTask = {
  name: 'same',
  kind: 'choice',
  columns: { text: 'text', candidates: 'candidates', answer: 'answer' },
  metric: 'accuracy',
};
const spanTask: SpanTask = {
  name: 'where',
  kind: 'span',
  columns: { question: 'q', context: 'c', answer: 'a', answerStart: 's' },
  metric: 'exactMatch',
};

function encoder(): PlugModel {
  const config = plugConfig({
    vocabSize: testTokenizer.vocabSize,
    hiddenSize: 16,
    numAttentionHeads: 2,
    numHiddenLayers: 1,
    decHiddenLayers: 0,
    maxPositionEmbeddings: 24,
    initializerRange: 0.3,
  });
  return new PlugModel(config, newParameters(5, 'float64'));
}

/** Which candidate begins with 春? Two to four candidates. */
function choices(seed: number, count: number): ChoiceExample[] {
  return Array.from({ length: count }, (_, index) => {
    const random = keyedRandom(seed, index);
    const draw = () => characters[random.integer(1, characters.length - 1)]!;
    const candidates = Array.from({ length: random.integer(2, 4) }, () => draw() + draw());
    const answer = random.integer(0, candidates.length - 1);
    candidates[answer] = `春${draw()}`;
    return { text: draw(), candidates, answer };
  });
}

/** Where is 春江? Neither character occurs elsewhere. */
function questions(seed: number, count: number, length = 8): SpanExample[] {
  return Array.from({ length: count }, (_, index) => {
    const random = keyedRandom(seed, index);
    const text = Array.from({ length }, () => characters[random.integer(2, characters.length - 1)]!);
    const answerStart = random.integer(0, length - 2);
    text.splice(answerStart, 2, '春', '江');
    return { question: '海', context: text.join(''), answer: '春江', answerStart, answers: ['春江'] };
  });
}

const base = { tokensPerBatch: 256, learningRate: 3e-3, threads: 1, dtype: 'float32' } as const;

describe('PlugChooser', () => {
  it('learns to choose, and comes back from its folder', async () => {
    const folder = temporaryFolder();
    const data = { train: choices(1, 96), dev: choices(2, 32), test: choices(3, 32) };
    const before = liveTensorCount();
    const settings = { ...base, model: writeTestModel(folder), out: join(folder, 'run'), epochs: 12 };
    const result = await finetune(choiceTask, data, settings);
    assert.equal(liveTensorCount(), before);
    assert.ok(result.finished && result.test!.accuracy > 0.9, JSON.stringify(result));
    using model = loadTaskModel(result.model);
    assert.ok(model instanceof PlugChooser);
    assert.equal(evaluateChooser(model, data.test).scores.accuracy, result.test!.accuracy);
  });

  it('gives the same probabilities alone and among others', () => {
    using chooser = new PlugChooser({
      model: encoder(),
      tokenizer: testTokenizer,
      task: choiceTask,
      maxLength: 24,
      head: newParameters(6, 'float64'),
    });
    const examples = choices(4, 9);
    const together = chooser.predict(examples, { forward, tokensPerBatch: 64 });
    for (const [index, example] of examples.entries()) {
      const [alone] = chooser.predict([example], { forward });
      const difference = alone!.probabilities.map((p, at) =>
        Math.abs(p - together[index]!.probabilities[at]!),
      );
      assert.ok(Math.max(...difference) < 1e-12);
      assert.equal(alone!.probabilities.length, example.candidates.length);
    }
  });

  it('puts a candidate into its place, and keeps it when the text is cut', () => {
    using chooser = new PlugChooser({
      model: encoder(),
      tokenizer: testTokenizer,
      task: { ...choiceTask, place: '#' },
      maxLength: 8,
      head: newParameters(6, 'float64'),
    });
    const ids = (text: string) => [2, ...testTokenizer.encode(text), 3];
    const [short] = chooser.encode({ text: '江#海', candidates: ['春', '月'] });
    assert.deepEqual(Array.from(short!.inputIds), ids('江春海'));
    const [long] = chooser.encode({
      text: `${'江'.repeat(20)}#${'海'.repeat(20)}`,
      candidates: ['春', '月'],
    });
    assert.deepEqual(Array.from(long!.inputIds), ids('江江江江春海'));
  });
});

describe('PlugSpanReader', () => {
  it('learns to find answers, through windows too, bit for bit when interrupted', async () => {
    const folder = temporaryFolder();
    const data = { train: questions(1, 128), dev: questions(2, 32, 20) };
    const settings = {
      ...base,
      model: writeTestModel(folder),
      epochs: 16,
      maxLength: 14,
      patience: 0,
      saveEvery: 7,
    };
    const result = await finetune(spanTask, data, { ...settings, out: join(folder, 'run') });
    assert.ok(result.finished && result.dev!.exactMatch > 0.8, JSON.stringify(result));
    using model = loadTaskModel(result.model);
    assert.ok(model instanceof PlugSpanReader);
    assert.ok(model.encode(data.dev[0]!).windows.length > 2);
    assert.equal(evaluateSpanReader(model, data.dev).scores.f1, result.dev!.f1);

    const stop = new AbortController();
    const out = join(folder, 'parts');
    const listener = { onStep: ({ step }: { step: number }) => void (step === 20 && stop.abort()) };
    const first = await finetune(spanTask, data, { ...settings, out }, listener, stop.signal);
    assert.ok(!first.finished);
    rmSync(join(out, 'checkpoints', 'step-00000020'), { recursive: true });
    await finetune(spanTask, data, { ...settings, out });
    const bytes = (run: string) => readFileSync(join(folder, run, 'model', 'model.safetensors'));
    assert.deepEqual(bytes('parts'), bytes('run'));
  });

  it('has every token of a text in a window, and labels only where the answer is whole', () => {
    using reader = new PlugSpanReader({
      model: encoder(),
      tokenizer: testTokenizer,
      task: spanTask,
      maxLength: 12,
      head: newParameters(6, 'float64'),
    });
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 40 }), fc.integer({ min: 1, max: 99 }), (length, seed) => {
        const [example] = questions(seed, 1, length) as [SpanExample];
        const encoded = reader.encode(example);
        const covered = new Set<number>();
        let labelled = 0;
        for (const window of encoded.windows) {
          assert.ok(window.inputIds.length <= 12);
          for (let at = 0; at < window.count; at++) covered.add(window.first + at);
          const [first, last] = reader.labels(example, encoded, window);
          if (first === 0) assert.equal(last, 0);
          else {
            labelled++;
            const ids = window.inputIds.slice(window.offset + first - 1, window.offset + last);
            assert.deepEqual(Array.from(ids), Array.from(testTokenizer.encode(example.answer)));
          }
        }
        assert.equal(covered.size, length);
        assert.ok(labelled >= 1);
      }),
    );
  });

  it('answers the same alone and among others', () => {
    using reader = new PlugSpanReader({
      model: encoder(),
      tokenizer: testTokenizer,
      task: spanTask,
      maxLength: 12,
      head: newParameters(6, 'float64'),
    });
    const examples = [3, 9, 30, 14].flatMap((length) => questions(length, 2, length));
    const together = reader.predict(examples, { forward, tokensPerBatch: 100 });
    for (const [index, example] of examples.entries()) {
      const [alone] = reader.predict([example], { forward });
      assert.equal(alone!.answer, together[index]!.answer);
      assert.ok(Math.abs(alone!.probability - together[index]!.probability) < 1e-12);
      assert.equal(example.context.slice(alone!.answerStart).indexOf(alone!.answer), 0);
    }
  });
});

describe('paddedRows', () => {
  it('gives the softmax of each row by itself, and its gradient', () => {
    scope(() => {
      const values = [0.5, -1, 2, 0.25, 1];
      const lengths = [2, 3];
      const labels = [1, 0];
      const lossOf = (numbers: readonly number[], requiresGrad = false) => {
        const input = tensor(numbers, { shape: [5], dtype: 'float64', requiresGrad });
        return { input, loss: nn.crossEntropy(paddedRows(input, lengths), indexTensor(labels)) };
      };
      const logSum = (row: number[]) => Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0));
      const { input, loss } = lossOf(values, true);
      const wanted = (logSum(values.slice(0, 2)) - values[1]! + logSum(values.slice(2)) - values[2]!) / 2;
      assert.ok(Math.abs(loss.item() - wanted) < 1e-14);
      backward(loss);
      const gradient = input.grad!.toArray();
      for (const index of values.keys()) {
        const moved = (by: number) => values.map((value, at) => (at === index ? value + by : value));
        const slope = noGrad(
          () => (lossOf(moved(1e-6)).loss.item() - lossOf(moved(-1e-6)).loss.item()) / 2e-6,
        );
        assert.ok(Math.abs(slope - gradient[index]!) < 1e-8);
      }
    });
  });
});

describe('locatedTokens', () => {
  it('has the ids of the whole text, and finds what covers a range', () => {
    const text = '春江abc 𠀀水。';
    const located = locatedTokens(testTokenizer, text);
    assert.deepEqual(located.ids, testTokenizer.encode(text));
    const found = tokensWithin(located, text.indexOf('水'), text.indexOf('水') + 1)!;
    assert.equal(text.slice(located.starts[found.first], located.ends[found.last]), '水');
    assert.equal(tokensWithin(located, text.length, text.length + 1), undefined);
  });
});
