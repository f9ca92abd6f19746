import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolder } from '../pretrain/pretrain.test-support.js';
import { Phases } from './phases.js';

describe('phases', () => {
  it('that finished are not run again, give the same result, and their time counts', async () => {
    const out = temporaryFolder();
    let runs = 0;
    const body = async () => {
      runs++;
      await sleep(30);
      return { score: 0.1 + 0.2, model: undefined, bad: Number.NaN };
    };
    const first = new Phases(out);
    const result = await first.run('stage1', body);
    const second = new Phases(out);
    assert.equal(second.finishedSeconds, 0);
    assert.deepEqual(await second.run('stage1', body), result);
    assert.equal(runs, 1);
    assert.ok(first.finishedSeconds >= 0.025 && first.finishedSeconds < 5, `${first.finishedSeconds}`);
    assert.ok(Math.abs(second.finishedSeconds - first.finishedSeconds) < 1e-9);
    await second.run('stage2', body);
    assert.equal(runs, 2, 'another name is another phase');
    assert.ok(second.finishedSeconds > first.finishedSeconds);
  });

  it('that threw are run again and leave no record', async () => {
    const out = temporaryFolder();
    let runs = 0;
    const body = () => {
      if (++runs < 3) throw new Error(`attempt ${runs}`);
      return runs;
    };
    await assert.rejects(new Phases(out).run('flaky', body), /attempt 1/);
    const phases = new Phases(out);
    await assert.rejects(phases.run('flaky', body), /attempt 2/);
    assert.equal(phases.finishedSeconds, 0);
    assert.equal(await phases.run('flaky', body), 3);
    assert.equal(await new Phases(out).run('flaky', body), 3);
    assert.equal(runs, 3);
  });
});
