import assert from 'node:assert/strict';
import { test } from 'node:test';
import { piecesOf, saliencyClass, signed, strongest } from './saliency-steps.js';
import type { SaliencyUnit } from './understand-api.js';

function unit(start: number, end: number, effect: number | null, text: 0 | 1 = 0): SaliencyUnit {
  return { text, start, end, effect, maskedProbability: effect };
}

test('the strongest effect has the strongest colour, and noise has none', () => {
  const units = [unit(0, 1, 2), unit(1, 2, -1.4), unit(2, 3, 0.1), unit(3, 4, null)];
  const scale = strongest(units);
  assert.deepEqual(
    units.map(({ effect }) => saliencyClass(effect, scale)),
    ['for-3', 'against-2', '', 'not-read'],
  );
  assert.equal(saliencyClass(0.001, strongest([unit(0, 1, 0.001)])), '');
  assert.deepEqual([1.254, -0.4, -0.001].map(signed), ['+1.25', '−0.40', '0.00']);
});

test('pieces are the whole text, spaces and all, each text with its own units', () => {
  const units = [unit(0, 1, 1), unit(2, 4, 1), unit(0, 1, 1, 1)];
  const text = '春 𠮷。';
  const whole = piecesOf(text, 0, units).map(
    ({ unit: of, plain }) => plain ?? text.slice(of!.start, of!.end),
  );
  assert.deepEqual(whole, ['春', ' ', '𠮷', '。']);
  assert.equal(piecesOf('江水', 1, units).length, 2);
});
