// Numbers that overflow or are poisoned in a real model: the stage stops, and its last checkpoint is sound.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { noGrad, scope } from '@openplug/torch';
import { loadModel, resolveModelFolder, saveModel } from '../checkpoint/index.js';
import { TrainingError } from '../errors.js';
import { newParameters, PlugModel, plugConfigOfSize } from '../model/index.js';
import { RunFolder, train } from '../train/index.js';
import { pretrain, stage2Objective } from './index.js';
import {
  nanoSettings,
  temporaryFolder,
  testTokenCorpus,
  testTokenizer,
  writeTestCorpus,
} from './pretrain.test-support.js';
import { createStage2Sampler } from './samples/index.js';

/** Loads a model and asserts that every number in it is finite. */
function assertSound(folder: string): void {
  using model = loadModel(folder);
  for (const [name, parameter] of model.parameters)
    assert.ok(Number.isFinite(scope(() => parameter.detach().to('float64').abs().sum().item())), name);
}

describe('a stage whose numbers go wrong', () => {
  it('for a learning rate far too high names step and layer; what is saved can be loaded', async () => {
    const folder = temporaryFolder();
    const out = join(folder, 'run');
    const settings = nanoSettings({
      ...writeTestCorpus(folder),
      out,
      stage: 2,
      learningRate: 1e10,
      warmupFraction: 0.5,
      saveEvery: 1,
      totalSteps: 60,
    });
    await assert.rejects(pretrain(settings), (error) => {
      assert.ok(error instanceof TrainingError, `${error}`);
      assert.match(error.message, /^Step \d+: .* is in "(bert|cls|decoder)\.[a-z0-9_.]+"/i);
      assert.match(error.message, /lower learning rate/);
      return true;
    });
    if (new RunFolder(out).checkpointSteps().length > 0) assertSound(resolveModelFolder(out));
    await assert.rejects(pretrain(settings), TrainingError, 'the same again, from the checkpoint');
  });

  it('for a poisoned parameter names the one', async () => {
    const corpus = testTokenCorpus(12);
    using model = new PlugModel(
      plugConfigOfSize('nano', testTokenizer.vocabSize, { maxPositionEmbeddings: 32 }),
      newParameters(1),
    );
    const objective = stage2Objective(
      model,
      createStage2Sampler(corpus, testTokenizer, { seed: 1, minLength: 3, maxLength: 10 }),
      undefined,
      { seed: 1, tokensPerBatch: 64, evaluationBatches: 1, mlmUntilStep: 9 },
      () => 1,
    );
    const folder = new RunFolder(temporaryFolder());
    const settings = nanoSettings({ corpus: '', tokenizer: '', out: '', saveEvery: 2 });
    const poisoned = [...model.parameters.keys()].find((name) => /^decoder.*cross.*weight/i.test(name));
    const name = poisoned ?? [...model.parameters.keys()].findLast((key) => key.startsWith('decoder'))!;
    const onStep = ({ step }: { step: number }): void => {
      if (step === 3) noGrad(() => scope(() => model.parameters.get(name)!.detach().fill_(Number.NaN)));
    };
    const trainable = { parameters: model.parameters, save: (path: string) => saveModel(path, model) };
    await assert.rejects(
      train(trainable, objective, { ...settings, computeDType: 'float32' }, folder, { onStep }),
      (error) =>
        error instanceof TrainingError &&
        error.message.startsWith('Step 4: ') &&
        error.message.includes(`"${name}"`),
    );
    assert.deepEqual(folder.checkpointSteps(), [2]);
    assertSound(folder.checkpointPath(2));
  });
});
