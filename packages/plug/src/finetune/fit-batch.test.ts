import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { countParameters, plugConfigOfSize } from '../model/index.js';
import { trainingMemory } from '../plan/index.js';
import { fitBatch, trainedBeside } from './fit-batch.js';

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

  it('counts gradients and moments of what is trained alone', () => {
    const settings = {
      headOnly: false,
      loraRank: 8,
      loraTargets: ['query_key_value'],
      promptOnly: false,
      promptTokens: 0,
    };
    const hidden = config.hiddenSize;
    const trained = trainedBeside(config, settings);
    assert.equal(trained, config.numHiddenLayers * 8 * (hidden + 3 * hidden));
    assert.equal(trainedBeside(config, { ...settings, loraRank: 0 }), undefined);
    assert.equal(trainedBeside(config, { ...settings, headOnly: true, loraRank: 0 }), 0);
    assert.equal(trainedBeside(config, { ...settings, promptOnly: true, promptTokens: 20 }), 20 * hidden);
    const free = 3e9;
    const whole = fitBatch(config, work, free).tokensPerBatch;
    assert.ok(fitBatch(config, { ...work, trained }, free).tokensPerBatch > whole);
    // Three of four copies in float32 are gone.
    const planned = {
      batch: 1,
      sourceLength: 16,
      targetLength: 1,
      dtype: 'float32',
      optimizer: 'adamw',
    } as const;
    const memory = { ...planned, recompute: false, mesh: { data: 1, tensor: 1 } };
    const saved = trainingMemory(config, memory).total - trainingMemory(config, { ...memory, trained }).total;
    const weights = 4 * countParameters(config);
    assert.ok(saved > 2.7 * weights && saved < 3 * weights, `${saved / weights}`);
  });

  it('never goes below the longest example', () => {
    assert.equal(fitBatch(config, work, 1).tokensPerBatch, 512);
    assert.equal(fitBatch(config, { ...work, longest: 600 }, 1).tokensPerBatch, 1024);
  });
});
