// The loop on a toy network: what it draws, when it evaluates and saves, and that it leaks nothing.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { AdamW, backward, liveTensorBytes, liveTensorCount, scope } from '@openplug/torch';
import { RunFolder, type TrainingListener, train } from './index.js';
import { temporaryFolder, toyModel, toyObjective, toySettings, weightsOf } from './train.test-support.js';

describe('train', () => {
  it('averages micro-batches: gradients of two of four rows equal those of the mean of both losses', async () => {
    using model = toyModel();
    const settings = { ...toySettings, totalSteps: 1, warmupFraction: 0, clipGradNorm: 1e9 };
    const folder = new RunFolder(temporaryFolder());
    await train(model, toyObjective(model), settings, folder);

    using expected = toyModel();
    const objective = toyObjective(expected);
    const optimizer = new AdamW(expected.parameters, {
      weightDecay: settings.weightDecay,
      decays: () => true,
    });
    const norm = scope(() => {
      // The keys of micro-batches 0 and 1 of step 1 with seed 1 differ by one.
      const [first, second] = [0, 1].map((micro) =>
        objective.nextLosses(1, { computeDType: 'float32', dropoutSeed: (2 ** 28 + 1) * 2 ** 10 + micro }),
      );
      backward(first!.loss.add(second!.loss).div(2));
      return optimizer.gradientNorm();
    });
    optimizer.update(settings.learningRate / 2); // the only step of a linear fall to zero
    const got = weightsOf(model);
    for (const [name, values] of Object.entries(weightsOf(expected)))
      for (const [index, value] of values.entries())
        assert.ok(Math.abs(got[name]![index]! - value) < 1e-5, `${name}[${index}]`);
    const [line] = folder.metrics();
    assert.ok(Math.abs(Number(line!.gradientNorm) - norm) < 1e-5 * norm);
    assert.equal(line!.numTokens, 8);
  });

  it('evaluates when due, at the extra steps and at the end, and takes each micro-batch once', async () => {
    using model = toyModel();
    const objective = toyObjective(model);
    const folder = new RunFolder(temporaryFolder());
    const settings = { ...toySettings, totalSteps: 11, evaluateEvery: 4, evaluateAt: [2, 8] };
    const result = await train(model, objective, settings, folder);
    assert.deepEqual(result, { finished: true, step: 11 });
    assert.deepEqual(
      folder.metrics().flatMap((line) => (line.kind === 'evaluate' ? [[line.step, line.tenth]] : [])),
      [2, 4, 8, 11].map((step) => [step, (2 * step) / 10]),
    );
    assert.deepEqual(
      objective.taken,
      Array.from({ length: 22 }, (_, index) => index),
    );
    assert.deepEqual(folder.checkpointSteps(), [11, 8]);
  });

  it('stops at a signal, saves, and continues to the same weights and metrics', async () => {
    const [plain, stopped] = [new RunFolder(temporaryFolder()), new RunFolder(temporaryFolder())];
    using expected = toyModel();
    await train(expected, toyObjective(expected), toySettings, plain);
    const controller = new AbortController();
    {
      using model = toyModel();
      const onStep: TrainingListener['onStep'] = ({ step }) => step === 6 && controller.abort();
      const result = await train(
        model,
        toyObjective(model),
        toySettings,
        stopped,
        { onStep },
        controller.signal,
      );
      assert.deepEqual(result, { finished: false, step: 6 });
    }
    const leftover = join(stopped.path, 'checkpoints', '.writing-6'); // of a write that was killed
    mkdirSync(leftover);
    writeFileSync(join(leftover, 'model.safetensors'), 'half');
    using model = toyModel();
    const resumed: number[] = [];
    const objective = toyObjective(model);
    await train(model, objective, toySettings, stopped, { onResume: (step) => resumed.push(step) });
    assert.deepEqual(resumed, [6]);
    assert.ok(!existsSync(leftover));
    assert.equal(objective.taken[0], 12);
    assert.deepEqual(weightsOf(model), weightsOf(expected));
    const lines = (folder: RunFolder) => folder.metrics().map(({ tokensPerSecond: _, ...line }) => line);
    assert.deepEqual(lines(stopped), lines(plain));
  });

  it('ends when the objective is done, and does nothing when called again', async () => {
    using model = toyModel();
    const folder = new RunFolder(temporaryFolder());
    const objective = toyObjective(model);
    const early = { ...objective, isDone: () => objective.taken.length >= 6 };
    assert.deepEqual(await train(model, early, toySettings, folder), { finished: true, step: 3 });
    assert.deepEqual(folder.checkpointSteps(), [3]);
    const before = weightsOf(model);
    assert.deepEqual(await train(model, early, toySettings, folder), { finished: true, step: 3 });
    assert.equal(objective.taken.length, 6);
    assert.deepEqual(weightsOf(model), before);
  });

  it('holds the number of tensors constant over its steps, and frees its own', async () => {
    using model = toyModel();
    const before = { count: liveTensorCount(), bytes: liveTensorBytes() };
    const seen = new Set<string>();
    const onStep: TrainingListener['onStep'] = ({ step }) => {
      if (step >= 10) seen.add(`${liveTensorCount()} tensors, ${liveTensorBytes()} bytes`);
    };
    const settings = { ...toySettings, totalSteps: 60, evaluateEvery: 7, saveEvery: 13 };
    await train(model, toyObjective(model), settings, new RunFolder(temporaryFolder()), { onStep });
    assert.equal(seen.size, 1, [...seen].join(' / '));
    assert.deepEqual({ count: liveTensorCount(), bytes: liveTensorBytes() }, before);
  });
});
