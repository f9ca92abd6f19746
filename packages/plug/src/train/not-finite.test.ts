import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AdamW, noGrad } from '@openplug/torch';
import { TrainingError } from '../errors.js';
import { RunFolder, type TrainingObjective, train } from './index.js';
import { temporaryFolder, toyModel, toyObjective, toySettings, weightsOf } from './train.test-support.js';
import { restoreTrainingState } from './training-state.js';

const settings = { ...toySettings, saveEvery: 2, totalSteps: 10 };

describe('numbers that are not finite', () => {
  for (const [poison, value] of [
    ['NaN', Number.NaN],
    ['infinity', Number.POSITIVE_INFINITY],
  ] as const)
    for (const name of ['first.weight', 'second.weight'])
      it(`stop training: ${poison} in ${name}, found in the loss`, async () => {
        using model = toyModel();
        const folder = new RunFolder(temporaryFolder());
        const onStep = ({ step }: { step: number }) => {
          if (step !== 5) return;
          noGrad(() => {
            using parameter = model.parameters.get(name)!.detach();
            using one = parameter.reshape(-1).narrow(0, 3, 1);
            one.fill_(value);
          });
        };
        await assert.rejects(train(model, toyObjective(model), settings, folder, { onStep }), (error) => {
          assert.ok(error instanceof TrainingError);
          assert.match(error.message, new RegExp(`Step 6: .*"${name.replace('.', '\\.')}"`));
          assert.match(error.message, /last good checkpoint is .*step-00000004/);
          return true;
        });
        using good = toyModel();
        const optimizer = new AdamW(good.parameters);
        assert.equal(restoreTrainingState(folder.checkpointPath(4), good, optimizer).step, 4);
        assert.ok(
          Object.values(weightsOf(good))
            .flat()
            .every((number) => Number.isFinite(number)),
        );
      });

  it('are never saved, even where no loss has met them yet', async () => {
    using model = toyModel();
    const folder = new RunFolder(temporaryFolder());
    const objective = toyObjective(model);
    // Poisoned after the loss of step 6 was computed, right before the checkpoint of step 6.
    const onStep = ({ step }: { step: number }) => {
      using parameter = model.parameters.get('second.weight')!.detach();
      if (step === 6) noGrad(() => parameter.fill_(Number.NaN));
    };
    await assert.rejects(
      train(model, objective, settings, folder, { onStep }),
      (error) => error instanceof TrainingError && /Step 6: .*"second\.weight"/.test(error.message),
    );
    assert.deepEqual(folder.checkpointSteps(), [4, 2]);
  });

  it('of a gradient whose loss is finite are found before the update', async () => {
    using model = toyModel();
    const folder = new RunFolder(temporaryFolder());
    const objective = toyObjective(model);
    // The square root has an infinite slope at zero.
    const rooted: TrainingObjective = {
      ...objective,
      nextLosses(step, options) {
        const losses = objective.nextLosses(step, options);
        if (step !== 4) return losses;
        const weight = model.parameters.get('second.weight')!;
        return { ...losses, loss: losses.loss.add(weight.sub(weight.detach()).sqrt().sum()) };
      },
    };
    const seen: Record<string, number[]>[] = [];
    const onStep = () => seen.push(weightsOf(model));
    await assert.rejects(
      train(model, rooted, settings, folder, { onStep }),
      (error) =>
        error instanceof TrainingError && /Step 4: the gradient norm.*"second\.weight"/.test(error.message),
    );
    assert.equal(seen.length, 3);
    assert.deepEqual(weightsOf(model), seen[2], 'no update by it');
  });

  it('from a learning rate far too high stop training with a layer named', async () => {
    using model = toyModel();
    const folder = new RunFolder(temporaryFolder());
    const high = { ...settings, learningRate: 1e25 };
    await assert.rejects(train(model, toyObjective(model), high, folder), (error) => {
      assert.ok(error instanceof TrainingError);
      assert.match(error.message, /^Step \d+: .*largest, .*, is in "(first|second)\.weight"/);
      assert.match(error.message, /lower learning rate/);
      return true;
    });
  });
});
