import assert from 'node:assert/strict';
import { test } from 'node:test';
import { confidenceStep, percent, STEPS } from './confidence.js';

test('less sure means a later step', () => {
  const steps = [1, 0.8, 0.5, 0.25, 0.1, 0.01, 0].map((probability) => confidenceStep(Math.log(probability)));
  assert.equal(steps[0], 0);
  assert.equal(steps.at(-1), STEPS - 1);
  assert.deepEqual(
    steps,
    [...steps].sort((left, right) => left - right),
  );
});

test('percents keep apart what is almost and what is all', () => {
  assert.deepEqual([0, 0.004, 0.424, 0.999, 1].map(percent), ['0%', '<1%', '42%', '>99%', '100%']);
});
