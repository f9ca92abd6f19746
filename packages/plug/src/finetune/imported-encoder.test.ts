// Fine-tuning of an encoder that was imported: post-LN, with a vocabulary of its own.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openBert, writeModelFolder } from '../checkpoint/index.js';
import { springExamples, springTask, temporaryFolder } from './finetune.test-support.js';
import { finetune, loadClassifier } from './index.js';

const bertTiny = fileURLToPath(new URL('../../test-data/bert-tiny', import.meta.url));

it('an imported BERT learns a task', async () => {
  const folder = temporaryFolder();
  const model = join(folder, 'bert');
  using opened = openBert(bertTiny);
  await writeModelFolder(model, opened, { dtype: 'float32' });
  const settings = {
    model,
    out: join(folder, 'run'),
    epochs: 4,
    learningRate: 3e-3,
    maxLength: 12,
    tokensPerBatch: 128,
    dtype: 'float32',
    threads: 1,
    dropout: 0,
  } as const;
  const data = { train: springExamples(1, 400), dev: springExamples(2, 100) };
  const result = await finetune(springTask, data, settings);
  assert.ok(result.finished && result.dev!.accuracy >= 0.9, JSON.stringify(result));
  using classifier = loadClassifier(result.model);
  assert.equal(classifier.model.config.preLn, false);
});
