// Spaces of settings, and the best of one: who is stopped when, and that an interruption changes nothing.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { finetune } from './finetune.js';
import { springExamples, springTask, temporaryFolder, writeTestModel } from './finetune.test-support.js';
import { evaluateTask, loadTaskModel } from './kinds.js';
import { searchBest } from './search.js';
import { searchChanges } from './search-space.js';

const data = { train: springExamples(1, 48), dev: springExamples(2, 32), test: springExamples(3, 32) };

/** Rates from far too small to good: on dev they come out in the order in which they stand. */
const rates = [1e-7, 1e-6, 1e-3, 6e-3];
const changes = new Map(rates.map((learningRate) => [`rate-${learningRate}`, { learningRate }]));

function settingsIn(folder: string) {
  return {
    model: writeTestModel(folder),
    out: join(folder, 'search'),
    tokensPerBatch: 64,
    threads: 1,
    dtype: 'float32',
    epochs: 6,
    patience: 0,
    warmupFraction: 0,
  } as const;
}

describe('searchBest', () => {
  it('stops the worse halves, keeps the best model, and is the same after interruptions', async () => {
    const folder = temporaryFolder();
    const base = settingsIn(folder);
    const started: number[] = [];
    const whole = await searchBest(springTask, data, base, changes, true, (index) => {
      started.push(index);
      return {};
    });
    assert.ok(whole.finished);
    assert.deepEqual(started, [0, 1, 2, 3, 2, 3, 3], 'four to evaluation 1, two to 2, one to the end');
    assert.deepEqual(
      whole.trials.map(({ stopped, evaluations }) => [stopped, evaluations]),
      [
        [true, 1],
        [true, 1],
        [true, 2],
        [false, 6],
      ],
    );
    assert.equal(whole.best, 3);
    assert.ok(!existsSync(join(whole.trials[0]!.out, 'checkpoints', 'step-00000001')));
    assert.deepEqual(JSON.parse(readFileSync(join(base.out, 'result.json'), 'utf8')), whole.scores);

    // The kept model is what the winner's settings give by themselves, pauses or not.
    const alone = await finetune(
      springTask,
      { train: data.train, dev: data.dev },
      { ...base, learningRate: 6e-3, out: join(folder, 'alone') },
    );
    assert.ok(alone.finished);
    const bytesOf = (model: string) => readFileSync(join(model, 'model.safetensors'));
    assert.ok(bytesOf(whole.model).equals(bytesOf(alone.model)));
    using model = loadTaskModel(base.out);
    assert.deepEqual(
      JSON.parse(JSON.stringify(whole.scores.test)),
      JSON.parse(
        JSON.stringify(
          evaluateTask(model, data.test, { forward: { computeDType: 'float32' }, tokensPerBatch: 64 }).scores,
        ),
      ),
    );

    const again = { ...base, out: join(folder, 'again') };
    for (const stopAt of [1, 4, 3]) {
      const stop = new AbortController();
      let calls = 0;
      const onStart = () => {
        calls++;
        return { onStep: () => void (calls === stopAt && stop.abort()) };
      };
      const part = await searchBest(springTask, data, again, changes, true, onStart, stop.signal);
      assert.ok(!part.finished, `${stopAt}`);
    }
    const continued = await searchBest(springTask, data, again, changes, true);
    assert.ok(continued.finished);
    const { best, scores } = continued;
    assert.deepEqual({ best, scores }, { best: whole.best, scores: whole.scores });
    assert.ok(bytesOf(continued.model).equals(bytesOf(whole.model)));
    const shape = ({ stopped, evaluations, best }: (typeof whole.trials)[number]) => [
      stopped,
      evaluations,
      best,
    ];
    assert.deepEqual(continued.trials.map(shape), whole.trials.map(shape));
  });

  it('runs all to their end without halving, and does not look at test before it has chosen', async () => {
    const folder = temporaryFolder();
    const base = { ...settingsIn(folder), epochs: 2 };
    const result = await searchBest(springTask, data, base, changes, false);
    assert.ok(result.finished && result.trials.every(({ stopped }) => !stopped));
    for (const { out } of result.trials)
      assert.equal(JSON.parse(readFileSync(join(out, 'result.json'), 'utf8')).test, undefined);
    rmSync(join(base.out, 'model'), { recursive: true });
    const once = await searchBest(springTask, data, base, changes, false);
    assert.deepEqual(once, result, 'what is finished is not done again');
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
