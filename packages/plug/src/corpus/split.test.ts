import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { splitOf } from './split.js';

describe('splitOf', () => {
  it('depends on the name alone and never changes', () => {
    // Fixed values: a change here would move documents between the sides of existing corpora.
    const held = Array.from({ length: 40 }, (_, index) => `d${index}`).filter(
      (id) => splitOf(id, 0.2) === 'heldOut',
    );
    assert.deepEqual(held, ['d0', 'd5', 'd34']);
    assert.equal(splitOf('tang/李白/0', 0), 'train');
    assert.equal(splitOf('tang/李白/0', 1), 'heldOut');
  });

  it('holds out about the share asked for, and more only adds', () => {
    const ids = Array.from({ length: 20_000 }, (_, index) => `document ${index}`);
    const held = ids.filter((id) => splitOf(id, 0.05) === 'heldOut');
    // Four standard deviations of a binomial: sqrt(20000 · 0.05 · 0.95) ≈ 31.
    assert.ok(Math.abs(held.length - 1000) < 124, `${held.length}`);
    for (const id of held) assert.equal(splitOf(id, 0.1), 'heldOut');
  });

  it('refuses a share outside 0 to 1', () => {
    for (const share of [-0.1, 1.1, Number.NaN]) assert.throws(() => splitOf('a', share), ConfigError);
  });
});
