// Texts that stage 2 writes on the way: those that the saved model writes, and without any effect on the training.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadModel } from '../checkpoint/index.js';
import { generate } from '../generate/index.js';
import { RunFolder } from '../train/index.js';
import { pretrain } from './index.js';
import {
  contentsOf,
  metricsOf,
  nanoSettings,
  temporaryFolder,
  testTokenizer,
  writeTestCorpus,
} from './pretrain.test-support.js';

describe('the texts of a run of stage 2', async () => {
  const folder = temporaryFolder();
  const places = writeTestCorpus(folder);
  const settings = nanoSettings({ ...places, out: join(folder, 'run'), stage: 2, initializerRange: 0.2 });
  const { model } = await pretrain(settings);
  const lines = new RunFolder(settings.out).samples();

  it('are there for each evaluation, of the same sources', () => {
    const evaluated = metricsOf(settings.out).filter(({ kind }) => kind === 'evaluate');
    assert.deepEqual(
      lines.map(({ step }) => step),
      evaluated.map(({ step }) => step),
    );
    assert.ok(lines.length >= 5);
    for (const { samples } of lines) {
      assert.equal(samples.length, 3);
      for (const [index, { source, target }] of samples.entries()) {
        assert.deepEqual(
          [source, target],
          [lines[0]!.samples[index]!.source, lines[0]!.samples[index]!.target],
        );
        assert.ok(source.length > 0 && target.length > 0);
      }
    }
    assert.notDeepEqual(lines[0], lines.at(-1), 'twenty steps must change what is written');
  });

  it('are those that the finished model writes', async () => {
    using finished = loadModel(model!);
    const { cls, sep } = testTokenizer.special;
    for (const { source, written } of lines.at(-1)!.samples) {
      const ids = [cls, ...testTokenizer.encode(source), sep];
      const { texts } = await generate(finished, testTokenizer, { ids }, { maxLength: 32, refreshTokens: 0 });
      assert.equal(written, texts[0]!.text);
    }
  });

  it('change nothing of the training', async () => {
    const rare = { ...settings, out: join(folder, 'rare'), evaluateEvery: 0 };
    await pretrain(rare);
    assert.equal(
      contentsOf(rare.out)['model/model.safetensors'],
      contentsOf(settings.out)['model/model.safetensors'],
    );
  });

  it('are not written by stage 1', async () => {
    const first = { ...settings, out: join(folder, 'first'), stage: 1, totalSteps: 4 };
    await pretrain(first);
    assert.equal(existsSync(join(first.out, 'samples.jsonl')), false);
  });
});
