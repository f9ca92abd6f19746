// Pipelines: the same as the direct calls, whoever asks when; errors, closing, and the examples as they stand.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadModel } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import {
  pairTask,
  springExamples,
  springTask,
  temporaryFolder,
  writeTestModel,
} from '../finetune/finetune.test-support.js';
import {
  type ClassificationExample,
  type ClassificationTask,
  type FinetuneTask,
  finetune,
  loadClassifier,
  predictZeroShot,
} from '../finetune/index.js';
import { generate } from '../generate/index.js';
import { loadTokenizer } from '../text/index.js';
import { pipeline } from './index.js';

const folder = temporaryFolder();
const model = writeTestModel(folder, { maxPositionEmbeddings: 48 });
const texts = springExamples(3, 40).map(({ text }) => text);

async function tuned(name: string, task: FinetuneTask, train: readonly object[]): Promise<string> {
  const out = join(folder, name);
  const settings = {
    model,
    out,
    maxSteps: 4,
    tokensPerBatch: 256,
    maxLength: 32,
    threads: 1,
    dtype: 'float32',
  } as const;
  await finetune(task, { train: train as never }, settings);
  return out;
}

const spring = await tuned('spring', springTask, springExamples(1, 16));

describe('pipeline', () => {
  it('classifies as the classifier does, in whatever calls the texts come', async () => {
    await using classify = await pipeline('classify', { model: spring, threads: 1 });
    using classifier = loadClassifier(spring);
    const wanted = classifier.predict(texts.map((text) => ({ text })));
    const together = await classify(texts);
    const single = await Promise.all(texts.map((text) => classify(text)));
    for (const [index, { label, probabilities }] of wanted.entries())
      for (const got of [together[index]!, single[index]!]) {
        assert.equal(got.label, label);
        assert.ok(Math.abs(got.probability - Math.max(...probabilities)) < 1e-5);
        assert.equal(got.labels.length, 2);
      }
  });

  it('leaves the event loop free while it works', async () => {
    await using embed = await pipeline('embed', { model, threads: 1 });
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await embed(Array.from({ length: 4000 }, (_, index) => texts[index % texts.length]!));
    clearInterval(timer);
    assert.ok(turns >= 3, `${turns} turns of the event loop`);
  });

  it('embeds a text the same alone and among others, at length 1', async () => {
    await using embed = await pipeline('embed', { model, threads: 1 });
    const all = await embed(texts);
    const one = await embed(texts[7]!);
    assert.equal(one.length, 32);
    assert.ok(Math.abs(Math.hypot(...one) - 1) < 1e-6);
    for (const [at, value] of one.entries()) assert.ok(Math.abs(value - all[7]![at]!) < 1e-5);
    await using first = await pipeline('embed', { model, threads: 1, pooling: 'first', normalize: false });
    assert.notDeepEqual(await first(texts[7]!), one);
  });

  it('labels by the decoder, without fine-tuning', async () => {
    const labels = ['春江', '海'];
    await using label = await pipeline('label', { model, labels, before: '月', threads: 1 });
    const task: ClassificationTask = {
      ...springTask,
      labels,
      prompt: { source: '{text}', before: '月', words: labels },
    };
    using loaded = loadModel(model, { precision: 'float32' });
    const [wanted] = predictZeroShot(loaded, loadTokenizer(model), task, [{ text: '潮水' }]);
    const got = await label('潮水');
    assert.equal(got.label, labels[wanted!.choice]);
    assert.ok(Math.abs(got.probability - Math.max(...wanted!.probabilities)) < 1e-5);
    await assert.rejects(pipeline('label', { model, labels: ['春', '春'] }), /must differ/);
  });

  it('writes what generate writes', async () => {
    const settings = { maxLength: 6, temperature: 0, seed: 3 };
    await using write = await pipeline('generate', { model, threads: 1, ...settings });
    using loaded = loadModel(model, { precision: 'float32' });
    const { texts: wanted } = await generate(loaded, loadTokenizer(model), '春江', settings);
    assert.equal(await write('春江'), wanted[0]!.text);
  });

  it('answers, chooses and compares by what it was fine-tuned for', async () => {
    const answerTask: FinetuneTask = {
      name: 'where',
      kind: 'span',
      columns: { question: 'q', context: 'c', answer: 'a', answerStart: 's' },
      metric: 'f1',
    };
    const chooseTask: FinetuneTask = {
      name: 'which',
      kind: 'choice',
      columns: { text: 't', candidates: 'c', answer: 'a' },
      metric: 'accuracy',
    };
    const asked = { question: '海', context: '春江潮水', answer: '江', answerStart: 1, answers: ['江'] };
    await using answer = await pipeline('answer', {
      model: await tuned('answer', answerTask, [asked]),
      threads: 1,
    });
    const found = await answer({ question: '海', context: '春江潮水' });
    assert.equal('春江潮水'.slice(found.start, found.start + found.answer.length), found.answer);
    const choice = { text: '春', candidates: ['江', '海', '月'], answer: 1 };
    await using choose = await pipeline('choose', {
      model: await tuned('choose', chooseTask, [choice]),
      threads: 1,
    });
    const chosen = await choose(choice);
    assert.equal(chosen.candidate, choice.candidates[chosen.index]);
    assert.ok(Math.abs(chosen.probabilities.reduce((sum, p) => sum + p, 0) - 1) < 1e-9);
    const linked: ClassificationExample[] = [{ text: '春江', textPair: '江潮', label: 1 }];
    await using pair = await pipeline('pair', { model: await tuned('pair', pairTask, linked), threads: 1 });
    assert.ok(['no', 'yes'].includes((await pair({ text: '海', textPair: '平' })).label));
  });

  it('says what is wrong with a model or an input, and goes on', async () => {
    await assert.rejects(
      pipeline('pair', { model: spring }),
      (error) => error instanceof ConfigError && /single texts/.test(error.message),
    );
    await assert.rejects(pipeline('classify', { model: join(folder, 'none') }), ConfigError);
    await using classify = await pipeline('classify', { model: spring, threads: 1 });
    const bad = classify(' ');
    const good = classify('春江');
    await assert.rejects(bad, /takes texts that are not empty, got " "/);
    assert.ok((await good).label);
    await assert.rejects(classify('春', { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
    const stop = new AbortController();
    const stopped = classify('春', { signal: stop.signal });
    stop.abort(new Error('later'));
    await assert.rejects(stopped, /later/);
    const waiting = assert.rejects(classify('江'), /closed/);
    await classify.close();
    await waiting;
    await assert.rejects(classify('江'), /closed/);
  });
});

describe('examples', () => {
  const run = promisify(execFile);
  const at = (name: string): string => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
  it('run as they stand', async () => {
    const classified = await run(process.execPath, [at('classify.mjs'), spring, '春江', '海平']);
    assert.match(classified.stdout, /^(spring|other) 0\.\d{3}\n(spring|other) 0\.\d{3}\n$/);
    const similar = await run(process.execPath, [at('similar.mjs'), model, '春江', '春江', '海平明月']);
    assert.match(similar.stdout, /^1\.000 春江\n/);
    const continued = await run(process.execPath, [at('continue.mjs'), model, '春江', '潮水']);
    assert.match(continued.stdout, /^春江/m);
    assert.match(continued.stdout, /^潮水/m);
  });
});
