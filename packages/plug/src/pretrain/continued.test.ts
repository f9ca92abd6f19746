// Pre-training that goes on from a finished model, on other text.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { loadModel, resolveModelFolder } from '../checkpoint/index.js';
import { loadTokenizer } from '../text/index.js';
import { pretrain } from './index.js';
import { nanoSettings, temporaryFolder, writeTestCorpus } from './pretrain.test-support.js';

it('both stages go on from a model of stage 2; stage 1 without its decoder', async () => {
  const folder = temporaryFolder();
  const files = writeTestCorpus(folder);
  const still = { totalSteps: 1, learningRate: 1e-30, evaluateEvery: 0 };
  const first = await pretrain({
    ...nanoSettings({ ...files, out: join(folder, 'first'), stage: 2 }),
    totalSteps: 3,
  });
  using start = loadModel(first.model!);
  for (const stage of [1, 2]) {
    const settings = nanoSettings({ ...files, out: join(folder, `${stage}`), stage, init: first.model! });
    const { model } = await pretrain({ ...settings, ...still, seed: 9 });
    using continued = loadModel(model!);
    assert.equal(continued.config.decHiddenLayers, stage === 1 ? 0 : 1);
    for (const [name, parameter] of continued.parameters) {
      const before = start.parameters.get(name)!.toArray();
      const difference = parameter.toArray().map((value, at) => Math.abs(value - before[at]!));
      assert.ok(Math.max(...difference) < 1e-29, name);
    }
  }
  const settings = nanoSettings({ ...files, out: join(folder, 'long'), stage: 1, init: first.model! });
  await assert.rejects(
    pretrain({ ...settings, maxLength: 33, maxPositions: 64 }),
    /33 tokens, but the model in .* has 32 positions\. Set maxLength to 32 or less/,
  );
});

it('an interrupted run can be used as a model, with its vocabulary', async () => {
  const folder = temporaryFolder();
  const out = join(folder, 'run');
  const stop = new AbortController();
  const settings = nanoSettings({ ...writeTestCorpus(folder), out, stage: 2 });
  const { finished } = await pretrain(settings, { onStep: () => stop.abort() }, stop.signal);
  assert.equal(finished, false);
  const checkpoint = resolveModelFolder(out);
  using model = loadModel(checkpoint);
  assert.equal(loadTokenizer(checkpoint).vocabSize, model.config.originalVocabSize);
});
