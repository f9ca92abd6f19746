// Against scores worked out by hand from CMRC2018's definition.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { spanAccuracy, spanScores } from './span-metrics.js';

describe('spanAccuracy', () => {
  it('leaves out punctuation and case, and takes the best answer', () => {
    assert.deepEqual(spanScores({ prediction: '《春江》', answers: ['海', '春江。'] }), {
      exactMatch: 1,
      f1: 1,
    });
    assert.deepEqual(spanScores({ prediction: 'PLUG模型', answers: ['plug模型'] }), { exactMatch: 1, f1: 1 });
  });

  it('counts the longest common run, words of other scripts whole', () => {
    // Runs: 江潮 (2) of 4 and 3 units.
    assert.equal(spanScores({ prediction: '春江潮水', answers: ['江潮海'] }).f1, (2 * 2) / 7);
    // "in 2021" has 2 units and "2021年" 2, of which 1 is common.
    assert.equal(spanScores({ prediction: 'in 2021', answers: ['2021年'] }).f1, 0.5);
    assert.equal(spanScores({ prediction: '1,000.5元', answers: ['1,000.5'] }).f1, (2 * 1) / 3);
    assert.equal(spanScores({ prediction: '', answers: ['春'] }).f1, 0);
  });

  it('is a mean over questions', () => {
    const pairs = [
      { prediction: '春', answers: ['春'] },
      { prediction: '江', answers: ['海'] },
    ];
    assert.deepEqual(spanAccuracy(pairs), { exactMatch: 0.5, f1: 0.5 });
    assert.throws(() => spanAccuracy([]), ConfigError);
    assert.throws(() => spanAccuracy([{ prediction: '', answers: [] }]), ConfigError);
  });
});
