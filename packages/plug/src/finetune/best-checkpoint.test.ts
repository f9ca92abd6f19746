// Choosing the best evaluation and running out of patience.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MetricsLine } from '../train/index.js';
import { BestCheckpoint } from './best-checkpoint.js';

function line(step: number, scores: Record<string, number>): MetricsLine {
  return { kind: 'evaluate', step, ...scores };
}

describe('BestCheckpoint', () => {
  it('goes by the metric, then by the loss, then by who came first', () => {
    const kept = new BestCheckpoint('accuracy', 2);
    assert.equal(kept.take(line(1, { accuracy: 0.5, loss: 0.7 })), true);
    assert.equal(kept.take(line(2, { accuracy: 0.4, loss: 0.1 })), false);
    assert.equal(kept.take(line(3, { accuracy: 0.5, loss: 0.6 })), true);
    assert.equal(kept.take(line(4, { accuracy: 0.5, loss: 0.6 })), false);
    assert.equal(kept.exhausted, false);
    assert.equal(kept.take(line(5, { accuracy: 0.5, loss: 0.65 })), false);
    assert.equal(kept.exhausted, true);
    assert.equal(kept.best?.step, 3);
  });

  it('takes a smaller loss as better', () => {
    const kept = new BestCheckpoint('loss', 1);
    assert.equal(kept.take(line(1, { loss: 2 })), true);
    assert.equal(kept.take(line(2, { loss: 1 })), true);
    assert.equal(kept.take(line(3, { loss: 3 })), false);
    assert.equal(kept.exhausted, true);
  });

  it('knows after a replay what it knew before', () => {
    const lines = [line(1, { loss: 2 }), { kind: 'train' as const, step: 2, loss: 0 }, line(3, { loss: 3 })];
    const kept = new BestCheckpoint('loss', 2);
    kept.take(line(9, { loss: 0 }));
    kept.replay(lines);
    assert.equal(kept.best?.step, 1);
    kept.take(line(4, { loss: 3 }));
    assert.equal(kept.exhausted, true);
  });

  it('keeps the last without scores, and waits for ever with a patience of 0', () => {
    const kept = new BestCheckpoint('accuracy', 0);
    assert.equal(kept.take(line(1, {})), true);
    assert.equal(kept.take(line(2, {})), true);
    const patient = new BestCheckpoint('loss', 0);
    for (let step = 1; step < 50; step++) patient.take(line(step, { loss: step }));
    assert.equal(patient.exhausted, false);
  });
});
