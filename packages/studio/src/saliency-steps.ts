// Effects of characters as one of a few steps on each side, which the style sheet colours.
import type { SaliencyUnit } from './understand-api.js';

const STEPS = 3;
/** Effects that stay below it (2 % of the probability) are as good as none: no colour is made of noise. */
const LEAST = 0.02;

/** The largest effect, which gets the strongest colour; 0 when none is worth one. */
export function strongest(units: readonly SaliencyUnit[]): number {
  const largest = Math.max(0, ...units.map(({ effect }) => Math.abs(effect ?? 0)));
  return largest < LEAST ? 0 : largest;
}

export function saliencyClass(effect: number | null, scale: number): string {
  if (effect === null) return 'not-read';
  const step = scale === 0 ? 0 : Math.round((Math.abs(effect) / scale) * STEPS);
  if (step === 0) return '';
  return `${effect > 0 ? 'for' : 'against'}-${step}`;
}

/** "+1.25", "−0.40": with the sign of mathematics, which is as wide as the plus. */
export function signed(effect: number): string {
  const digits = Math.abs(effect).toFixed(2);
  if (digits === '0.00') return digits;
  return `${effect > 0 ? '+' : '−'}${digits}`;
}

/** The text as its units and what stands between them. */
export function piecesOf(
  text: string,
  index: number,
  units: readonly SaliencyUnit[],
): { unit?: SaliencyUnit; plain?: string }[] {
  const pieces: { unit?: SaliencyUnit; plain?: string }[] = [];
  let at = 0;
  for (const unit of units) {
    if (unit.text !== index) continue;
    if (unit.start > at) pieces.push({ plain: text.slice(at, unit.start) });
    pieces.push({ unit });
    at = unit.end;
  }
  if (at < text.length) pieces.push({ plain: text.slice(at) });
  return pieces;
}
