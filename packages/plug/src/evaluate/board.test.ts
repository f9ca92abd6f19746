import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { boardMean, boardRow, boardTaskNames, publishedRows } from './board.js';

describe('the CLUE board', () => {
  it('gives PLUG’s 80.614 from its seven scores', () => {
    const plug = publishedRows.find(({ name }) => name.startsWith('PLUG'))!;
    assert.equal(Object.keys(plug.scores).length, 7);
    assert.deepEqual(boardMean({ ...plug, publishedMean: 0 }), { mean: 80.614, missing: [] });
    assert.equal(boardMean(plug).mean, plug.publishedMean);
  });

  it('says what a partial row lacks', () => {
    const result = { task: 'csl', accuracy: 0.5, split: 'dev', from: 'runs/csl' } as const;
    const row = boardRow('own', [result, { ...result, task: 'tnews', accuracy: 0.25, from: 'runs/tnews' }]);
    assert.equal(row.source, 'own dev');
    const { mean, missing } = boardMean(row);
    assert.equal(mean, 37.5);
    assert.deepEqual(
      missing,
      boardTaskNames.filter((task) => task !== 'csl' && task !== 'tnews'),
    );
    assert.deepEqual(boardMean(boardRow('none', [])).mean, undefined);
    assert.throws(() => boardRow('own', [result, { ...result, from: 'runs/other' }]), /both of the task csl/);
  });
});
