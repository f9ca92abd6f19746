// Several runs: the same as each alone, and continued after an interruption.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { finetune } from './finetune.js';
import { springExamples, springTask, temporaryFolder, writeTestModel } from './finetune.test-support.js';
import { runTrials, seedChanges, spreadOf } from './trials.js';

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
