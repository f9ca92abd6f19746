// From metrics to the lines of a chart. No drawing here.
import type { Curves, Point, Run } from './runs-api.js';

export type Axis = 'step' | 'seconds';
export interface Line {
  name: string;
  /** Which of the palette's colours. */
  colour: number;
  points: [x: number, y: number, step: number][];
  /** The same line before it was smoothed. */
  raw?: [x: number, y: number, step: number][];
  /** Few points, each of which counts: drawn as dots. */
  dotted?: boolean;
}
export interface Marker {
  x: number;
  colour: number;
}
/** A run with its curves. */
export interface Drawn {
  run: Run;
  curves: Curves;
}

export const lossParts = ['lmLoss', 'mlmLoss', 'sentenceLoss'] as const;
/** What an evaluation is judged by, before all else. */
const preferredScores = ['bitsPerCharacter', 'accuracy', 'mlmAccuracy', 'perplexity'];

/**
 * An exponential moving average that begins at the first value and not at zero (the correction of Kingma and Ba,
 * arXiv 1412.6980, section 3).
 * @param factor weight of the past, 0 to below 1
 */
export function smoothed(points: Line['points'], factor: number): Line['points'] {
  let [mean, weight] = [0, 0];
  return points.map(([x, y, step]) => {
    mean = factor * mean + (1 - factor) * y;
    weight = factor * weight + (1 - factor);
    return [x, mean / weight, step];
  });
}

/** The values of one name, where there are any. */
export function valuesOf(points: readonly Point[], name: string, axis: Axis): Line['points'] {
  return points.flatMap((point): Line['points'] => {
    const value = point[name];
    return value === undefined ? [] : [[point[axis], value, point.step]];
  });
}

/** One line of each run. */
export function linesOf(drawn: readonly Drawn[], name: string, axis: Axis, smoothing: number): Line[] {
  return drawn.flatMap(({ run, curves }, colour) => {
    const raw = valuesOf(curves.points, name, axis);
    return raw.length === 0 ? [] : [lineOf(run.id, colour, raw, smoothing)];
  });
}

/** The parts of the loss of a single run, and what they are on held-out text. */
export function partLines(
  { curves }: Drawn,
  axis: Axis,
  smoothing: number,
  nameOf: (part: string, heldOut: boolean) => string,
): Line[] {
  return lossParts.flatMap((part, colour) => {
    const raw = valuesOf(curves.points, part, axis);
    if (raw.length === 0) return [];
    const heldOut = valuesOf(curves.evaluations, part, axis);
    return [
      lineOf(nameOf(part, false), colour, raw, smoothing),
      ...(heldOut.length > 0 ? [{ name: nameOf(part, true), colour, points: heldOut, dotted: true }] : []),
    ];
  });
}

/** One score of each run's evaluations. */
export function scoreLines(drawn: readonly Drawn[], name: string, axis: Axis): Line[] {
  return drawn.flatMap(({ run, curves }, colour) => {
    const points = valuesOf(curves.evaluations, name, axis);
    return points.length === 0 ? [] : [{ name: run.id, colour, points, dotted: true }];
  });
}

/** Names that any of the runs measured, the telling ones first. */
export function namesOf(drawn: readonly Drawn[], what: 'points' | 'evaluations'): string[] {
  const names = new Set(drawn.flatMap(({ curves }) => curves[what].flatMap((point) => Object.keys(point))));
  names.delete('step');
  names.delete('seconds');
  const rank = (name: string): number => (preferredScores.indexOf(name) + 1 || 99) - 1;
  return [...names].sort((a, b) => rank(a) - rank(b));
}

/** Where the masked LM of stage 2 ends, for the runs that have come so far or will. */
export function switchMarkers(drawn: readonly Drawn[], axis: Axis): Marker[] {
  return drawn.flatMap(({ run: { switchStep }, curves }, colour) => {
    if (switchStep === undefined || curves.lastStep < switchStep) return [];
    const at = curves.points.find(({ step }) => step >= switchStep);
    return at ? [{ x: axis === 'step' ? switchStep : at.seconds, colour }] : [];
  });
}

/** At most `count` points, the first and the last among them. */
export function thinned<Item>(items: readonly Item[], count: number): Item[] {
  if (items.length <= count) return [...items];
  return Array.from(
    { length: count },
    (_, at) => items[Math.round((at * (items.length - 1)) / (count - 1))]!,
  );
}

function lineOf(name: string, colour: number, raw: Line['points'], smoothing: number): Line {
  return smoothing > 0
    ? { name, colour, points: smoothed(raw, smoothing), raw }
    : { name, colour, points: raw };
}
