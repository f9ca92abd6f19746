// Spawns the real program: fine-tune, interrupt, continue, evaluate.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { writeTokenCorpus } from '../corpus/index.js';
import {
  copyExamples,
  copyTask,
  springExamples,
  springTask,
  temporaryFolder,
  testTokenizer,
  writeTestModel,
} from '../finetune/finetune.test-support.js';
import { plug } from './program.test-support.js';

function writeJson(folder: string, files: Record<string, unknown>): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, value] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(value));
}

describe('plug finetune and plug evaluate', () => {
  it('are interrupted, continued, and scored', async () => {
    const folder = temporaryFolder();
    const data = join(folder, 'data');
    const rows = (seed: number) =>
      springExamples(seed, 64).map(({ text, label }) => ({ line: text, season: springTask.labels[label] }));
    writeJson(data, { 'train.json': rows(1), 'dev.json': rows(2) });
    writeJson(folder, { 'task.json': springTask });
    const run = ['--out', join(folder, 'run'), '--data', data, '--task', join(folder, 'task.json')];
    const shape = [
      '--tokens-per-batch',
      '64',
      '--epochs',
      '25',
      '--learning-rate',
      '0.003',
      '--patience',
      '0',
    ];
    const command = [
      'finetune',
      '--model',
      writeTestModel(folder),
      ...run,
      ...shape,
      '--threads',
      '1',
      '--json',
    ];

    let sent = false;
    const stopped = await plug(command, (text, child) => {
      if (!sent && text.includes('step ')) child.kill('SIGINT');
      sent ||= text.includes('step ');
    });
    assert.equal(stopped.status, 130, stopped.stderr);
    const early = JSON.parse(stopped.stdout) as { finished: boolean; step: number };
    assert.equal(early.finished, false);

    const finished = await plug(command);
    assert.equal(finished.status, 0, finished.stderr);
    assert.match(finished.stderr, new RegExp(`Continuing after step ${early.step}\\.`));
    const result = JSON.parse(finished.stdout) as { dev: { accuracy: number }; steps: number };
    assert.ok(result.steps > early.step);
    assert.ok(result.dev.accuracy > 0.9);

    const evaluated = await plug([
      'evaluate',
      '--model',
      join(folder, 'run'),
      '--data',
      data,
      '--dtype',
      'float32',
    ]);
    assert.equal(evaluated.status, 0, evaluated.stderr);
    const percent = (100 * result.dev.accuracy).toFixed(2);
    assert.match(
      evaluated.stdout,
      new RegExp(`^accuracy ${percent} ± \\d+\\.\\d\\d % .*, macro F1[^]*64 examples`),
    );
    assert.match(evaluated.stdout, /right \\ predicted +other +spring/);

    writeJson(data, { 'dev.json': [{ line: '春', season: 'winter' }] });
    const wrong = await plug(['evaluate', '--model', join(folder, 'run'), '--data', data]);
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /dev\.json, row 1: label "winter" is unknown/);
  });

  it('write from a source, and score a model on held-out text', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder);
    const rows = copyExamples(1, 16).map(({ source, target }) => ({ from: source, to: target }));
    writeJson(folder, { 'task.json': copyTask, 'train.json': rows });
    const out = join(folder, 'run');
    const data = ['--data', join(folder, 'train.json')];
    const task = ['--task', join(folder, 'task.json')];
    const tuned = await plug(['finetune', ...task, '--model', model, ...data, '--out', out, '--epochs', '1']);
    assert.equal(tuned.status, 0, tuned.stderr);
    assert.match(tuned.stdout, /no dev file: no early stopping/);
    const scored = await plug(['evaluate', '--model', out, ...data, '--json']);
    const { scores } = JSON.parse(scored.stdout) as { scores: Record<string, number> };
    assert.ok(scores.bitsPerCharacter! > 0 && scores.characters === 48);

    const documents = Array.from({ length: 16 }, (_, index) => ({
      id: String(index),
      sentences: copyExamples(index, 4).map(({ source }) => source),
      source: 'test',
    }));
    const corpus = join(folder, 'corpus');
    writeTokenCorpus(corpus, documents, testTokenizer, { heldOutFraction: 0.5 });
    const lengths = ['--min-side-length', '4', '--tokens-per-batch', '64'];
    const heldOut = await plug(['evaluate', '--model', model, '--corpus', corpus, ...lengths, '--json']);
    assert.equal(heldOut.status, 0, heldOut.stderr);
    const { encoder, decoder } = (
      JSON.parse(heldOut.stdout) as { corpus: Record<string, Record<string, number>> }
    ).corpus;
    // A random model over 16 entries of the vocabulary: about the uniform distribution.
    assert.ok(decoder!.perplexity! > 8 && decoder!.perplexity! < 40, `${decoder!.perplexity}`);
    assert.ok(encoder!.mlmAccuracy! < 0.6);
    const neither = await plug(['evaluate', '--model', model]);
    assert.equal(neither.status, 2);
    assert.match(neither.stderr, /either --data .* or --corpus/);
  });
});
