// Several runs: the same as each alone, continued after an interruption, and spaces of settings.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { finetune } from './finetune.js';
import { springExamples, springTask, temporaryFolder, writeTestModel } from './finetune.test-support.js';
import { runTrials, searchChanges, seedChanges, spreadOf } from './trials.js';

const data = { train: springExamples(1, 24), dev: springExamples(2, 16), test: springExamples(3, 16) };

describe('runTrials', () => {
  it('is several runs with their mean, and continues after an interruption', async () => {
    const folder = temporaryFolder();
    const settings = {
      model: writeTestModel(folder),
      tokensPerBatch: 128,
      threads: 1,
      dtype: 'float32',
      epochs: 2,
    } as const;
    const out = join(folder, 'trials');
    const stop = new AbortController();
    const onStart = (index: number) => ({ onStep: () => void (index === 1 && stop.abort()) });
    const interrupted = await runTrials(
      springTask,
      data,
      { ...settings, out },
      seedChanges(4, 3),
      onStart,
      stop.signal,
    );
    assert.deepEqual(interrupted, { finished: false, done: 1, of: 3 });
    const result = await runTrials(springTask, data, { ...settings, out }, seedChanges(4, 3));
    assert.ok(result.finished);
    const alone = await finetune(springTask, data, { ...settings, seed: 5, out: join(folder, 'alone') });
    assert.ok(alone.finished);
    assert.deepEqual(result.trials[1]!.dev, alone.dev);
    assert.deepEqual(
      result.test!.values,
      result.trials.map(({ test }) => test!.accuracy),
    );
    assert.equal(result.dev!.values[result.best], Math.max(...result.dev!.values));
  });

  it('has mean and sample standard deviation', () => {
    assert.deepEqual(spreadOf([1, 3]), { mean: 2, standardDeviation: Math.SQRT2, values: [1, 3] });
    assert.equal(spreadOf([]), undefined);
  });
});

describe('searchChanges', () => {
  const space = (content: unknown): string => {
    const path = join(temporaryFolder(), 'space.json');
    writeFileSync(path, JSON.stringify(content));
    return path;
  };

  it('gives all combinations, or some of them', () => {
    const file = space({ learningRate: [1e-4, 3e-4], epochs: [1, 2, 3] });
    const all = searchChanges(file, undefined, 1);
    assert.equal(all.size, 6);
    assert.deepEqual(all.get('learningRate-0.0003_epochs-2'), { learningRate: 3e-4, epochs: 2 });
    const some = searchChanges(file, 2, 1);
    assert.equal(some.size, 2);
    for (const [name, settings] of some) assert.deepEqual(all.get(name), settings);
  });

  it('refuses what is no space', () => {
    assert.throws(
      () => searchChanges(space({ learningrate: [1] }), undefined, 1),
      /Did you mean "learningRate"/,
    );
    assert.throws(() => searchChanges(space({ epochs: 3 }), undefined, 1), /"epochs" needs a list/);
    assert.throws(() => searchChanges(space({ epochs: [0] }), undefined, 1), /epochs cannot be 0/);
    assert.throws(() => searchChanges(space([]), undefined, 1), /expected an object/);
  });
});
