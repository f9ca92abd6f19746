import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stepsWithin } from './timing.js';

/** A training whose first steps take `slowMs` each and the others `stepMs`; remembers its folder. */
function training(stepMs: number, slowMs = stepMs) {
  const seen = { folder: '', steps: 0 };
  const run: Parameters<typeof stepsWithin>[1] = async (folder, totalSteps, onStep) => {
    seen.folder = folder;
    writeFileSync(join(folder, 'checkpoint'), 'x');
    for (let step = 1; step <= totalSteps; step++) {
      await sleep(step <= 3 ? slowMs : stepMs);
      seen.steps++;
      onStep({ kind: 'train', step });
    }
  };
  return { seen, run };
}

describe('stepsWithin', () => {
  it('is the time left by the time of a step, the slow first steps not counted', async () => {
    const { seen, run } = training(20, 100);
    const steps = await stepsWithin(10, run);
    // 9.5 s at 20 ms, or somewhat more where timers are late.
    assert.ok(steps > 150 && steps <= 480, `${steps}`);
    assert.ok(!existsSync(seen.folder), 'the trial is removed');
  });

  it('is at least ten, even when no time is left', async () => {
    assert.equal(await stepsWithin(0.001, training(2).run), 10);
  });

  it('lets a failure through and removes the trial', async () => {
    let trial = '';
    const failing = stepsWithin(1, async (folder) => {
      trial = folder;
      throw new Error('no corpus');
    });
    await assert.rejects(failing, /no corpus/);
    assert.ok(trial !== '' && !existsSync(trial));
  });
});
