import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { plugConfigOfSize } from '../model/index.js';
import { fitBatch } from './fit-batch.js';

describe('fitBatch', () => {
  const config = plugConfigOfSize('base', 21128, { decHiddenLayers: 0 });
  const work = {
    tokensPerBatch: 8192,
    accumulationSteps: 1,
    dtype: 'float32',
    recomputeLayers: false,
    longest: 512,
  } as const;

  it('leaves a step that fits as it was', () => {
    assert.deepEqual(fitBatch(config, work, 64e9), { tokensPerBatch: 8192, accumulationSteps: 1 });
  });

  it('halves micro-batches as far as memory asks for, with the same tokens in a step', () => {
    let before = 0;
    for (const gigabytes of [3, 4, 6, 10]) {
      const { tokensPerBatch, accumulationSteps } = fitBatch(config, work, gigabytes * 1e9);
      assert.equal(tokensPerBatch * accumulationSteps, 8192);
      assert.ok(tokensPerBatch >= before, `${gigabytes} GB: ${tokensPerBatch}`);
      before = tokensPerBatch;
    }
    assert.ok(fitBatch(config, work, 4e9).tokensPerBatch < 8192);
  });

  it('never goes below the longest example', () => {
    assert.equal(fitBatch(config, work, 1).tokensPerBatch, 512);
    assert.equal(fitBatch(config, { ...work, longest: 600 }, 1).tokensPerBatch, 1024);
  });
});
