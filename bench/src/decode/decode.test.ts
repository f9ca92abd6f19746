import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BenchmarkError } from '../harness/harness.js';
import { type Shape, shapes } from '../shapes.js';
import { bytesPerStep, promptsOf } from './case.js';
import { sharedStart } from './decode.js';

describe('sharedStart', () => {
  it('counts what comes before the first difference of each text', () => {
    assert.equal(sharedStart([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], 3), 1);
    assert.equal(sharedStart([1, 2, 3, 4, 5, 6], [1, 9, 3, 4, 5, 9], 3), 0.5);
  });

  it('refuses texts of other lengths, and none', () => {
    assert.throws(() => sharedStart([1, 2], [1, 2, 3], 1), BenchmarkError);
    assert.throws(() => sharedStart([], [], 1), BenchmarkError);
  });
});

describe('promptsOf', () => {
  it('gives one prompt its full length, and spreads several from 16 to that', () => {
    const shape: Shape = shapes.reference;
    assert.deepEqual(
      promptsOf(shape, 1, 1).map((prompt) => prompt.length),
      [256],
    );
    const lengths = promptsOf(shape, 9, 1).map((prompt) => prompt.length);
    assert.deepEqual(
      [...lengths].sort((a, b) => a - b),
      [16, 46, 76, 106, 136, 166, 196, 226, 256],
    );
    assert.deepEqual(promptsOf(shape, 9, 1), promptsOf(shape, 9, 1));
  });
});

describe('bytesPerStep', () => {
  it('counts decoder matrices and the output embedding, not what runs once for each prompt', () => {
    const shape: Shape = shapes.trial;
    const { hiddenSize: e, intermediateSize: f, vocabSize: v } = shape.config;
    const weights = 3 * e * e + e * e + 2 * e * e + 2 * e * f + v * e;
    assert.equal(bytesPerStep(shape, 'int8'), weights);
    assert.equal(bytesPerStep(shape, 'float32'), 4 * weights);
  });
});
