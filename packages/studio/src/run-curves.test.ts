import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Drawn, namesOf, partLines, smoothed, switchMarkers, thinned, valuesOf } from './run-curves.js';
import type { Point, Run } from './runs-api.js';

const point = (step: number, more: Record<string, number>): Point => ({ step, seconds: step * 2, ...more });
const run: Run = { id: 'a', kind: 'pretrain', state: 'running', step: 40, settings: {}, updatedAt: '' };
const drawn: Drawn = {
  run: { ...run, switchStep: 36 },
  curves: {
    stride: 8,
    lastStep: 40,
    points: [8, 16, 24, 32, 40].map((step) =>
      point(step, { lmLoss: step, ...(step < 36 && { mlmLoss: 1 }) }),
    ),
    evaluations: [point(20, { perplexity: 9, lmLoss: 3, bitsPerCharacter: 7 })],
  },
};

describe('smoothing', () => {
  it('keeps a constant, begins at the first value, and follows the recurrence', () => {
    const line = (values: number[]) => values.map((y, x): [number, number, number] => [x, y, x]);
    for (const [, y] of smoothed(line([5, 5, 5]), 0.9)) assert.ok(Math.abs(y - 5) < 1e-12);
    const [first, second] = smoothed(line([1, 4]), 0.5);
    assert.equal(first![1], 1);
    assert.equal(second![1], (0.25 * 1 + 0.5 * 4) / 0.75);
  });
});

describe('lines', () => {
  it('end where a value ends, by step and by time', () => {
    assert.deepEqual(valuesOf(drawn.curves.points, 'mlmLoss', 'seconds').at(-1), [64, 1, 32]);
    const lines = partLines(drawn, 'step', 0, (part, heldOut) => part + (heldOut ? '*' : ''));
    assert.deepEqual(
      lines.map(({ name, points }) => [name, points.length]),
      [
        ['lmLoss', 5],
        ['lmLoss*', 1],
        ['mlmLoss', 4],
      ],
    );
  });

  it('mark the end of the masked LM once it was reached', () => {
    assert.deepEqual(switchMarkers([drawn], 'step'), [{ x: 36, colour: 0 }]);
    assert.deepEqual(switchMarkers([drawn], 'seconds'), [{ x: 80, colour: 0 }]);
    const before = { ...drawn, curves: { ...drawn.curves, lastStep: 32 } };
    assert.deepEqual(switchMarkers([before], 'step'), []);
  });

  it('name the telling scores first', () => {
    assert.deepEqual(namesOf([drawn], 'evaluations'), ['bitsPerCharacter', 'perplexity', 'lmLoss']);
  });
});

it('a thinned list has both ends', () => {
  assert.deepEqual(thinned([1, 2, 3], 5), [1, 2, 3]);
  const ten = thinned(
    Array.from({ length: 101 }, (_, at) => at),
    11,
  );
  assert.deepEqual([ten.length, ten[0], ten[10]], [11, 0, 100]);
});
