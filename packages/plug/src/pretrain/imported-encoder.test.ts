// Stage 2 from an encoder that was imported: post-LN, with its own vocabulary, window and token types.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadModel, openBert, writeModelFolder } from '../checkpoint/index.js';
import { writeTokenCorpus } from '../corpus/index.js';
import { ConfigError } from '../errors.js';
import { loadTokenizer } from '../text/index.js';
import { pretrain } from './index.js';
import { metricsOf, nanoSettings, temporaryFolder, testDocuments } from './pretrain.test-support.js';

const bertTiny = fileURLToPath(new URL('../../test-data/bert-tiny', import.meta.url));

it('stage 2 starts from an imported BERT', async () => {
  const folder = temporaryFolder();
  const [init, corpus] = [join(folder, 'bert'), join(folder, 'corpus')];
  using opened = openBert(bertTiny);
  await writeModelFolder(init, opened, { dtype: 'float32' });
  const tokenizer = loadTokenizer(init);
  writeTokenCorpus(corpus, testDocuments(30), tokenizer, { heldOutFraction: 0.3 });

  const settings = nanoSettings({ corpus, tokenizer: init, init, out: join(folder, 'run'), stage: 2 });
  const result = await pretrain({ ...settings, learningRate: 3e-3, totalSteps: 40, evaluateEvery: 10 });
  assert.equal(result.finished, true);
  const scores = metricsOf(settings.out).filter(({ kind }) => kind === 'evaluate');
  const losses = scores.map((line) => line.lmLoss as number);
  assert.ok(losses.length >= 4 && losses.at(-1)! < losses[0]! - 0.2, `held-out losses ${losses}`);

  using trained = loadModel(result.model!);
  assert.deepEqual(trained.config, { ...opened.config, decHiddenLayers: 1 });
  assert.equal(loadTokenizer(result.model!).vocabSize, tokenizer.vocabSize);

  const untrained = {
    ...settings,
    out: join(folder, 'start'),
    learningRate: 1e-12,
    totalSteps: 1,
    evaluateEvery: 0,
  };
  using start = loadModel((await pretrain(untrained)).model!);
  using encoder = loadModel(init);
  for (const [name, parameter] of encoder.parameters) {
    const found = start.parameters.get(name)!.toArray();
    const error = Math.max(...parameter.toArray().map((value, index) => Math.abs(value - found[index]!)));
    assert.ok(error <= 1e-9, `${name} is ${error} off`);
  }

  const tooLong = { ...settings, out: join(folder, 'too long'), maxSideLength: 15, maxPositions: 32 };
  await assert.rejects(
    pretrain(tooLong),
    (error) => error instanceof ConfigError && /17 tokens.*16 positions.*14 or less/.test(error.message),
  );
});
