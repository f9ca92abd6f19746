// Whether anything got slower: ratios of a short run against those stored in `bench/baseline.json`. Ratios alone are
// stored, as they hold from day to day where speeds do not.
import { progress, type Spread } from '../harness/harness.js';

/** A stored ratio, ours over a peer's (above 1 we are faster), with the range that it had over the rounds. */
export type StoredRatio = Pick<Spread, 'median' | 'min' | 'max'>;
export type Baseline = Readonly<Record<string, StoredRatio>>;

/** Least noise allowed, of a ratio: what two runs of the same code differ by on a quiet machine. */
export const leastNoise = 0.1;

export interface Verdict {
  name: string;
  /** Undefined where this run or the baseline lacks the row. */
  now: number | undefined;
  stored: number | undefined;
  /** The smallest ratio that passes. */
  limit: number | undefined;
  state: 'same' | 'slower' | 'faster' | 'new' | 'missing';
}

/**
 * Compares row by row. Noise is the stored range below its median, or `leastNoise` of the median if that is more.
 * A row of the baseline that was not measured is `missing`: a benchmark that stopped running must not pass.
 */
export function compareWithBaseline(
  measured: Readonly<Record<string, Spread>>,
  baseline: Baseline,
): Verdict[] {
  const names = [...new Set([...Object.keys(baseline), ...Object.keys(measured)])];
  return names.map((name) => {
    const [now, before] = [measured[name]?.median, baseline[name]];
    if (before === undefined) return { name, now, stored: undefined, limit: undefined, state: 'new' };
    const noise = Math.max(leastNoise * before.median, before.median - before.min);
    const limit = before.median - noise;
    const row = { name, now, stored: before.median, limit };
    if (now === undefined) return { ...row, state: 'missing' };
    if (!(now >= limit)) return { ...row, state: 'slower' };
    return { ...row, state: now > before.median + noise ? 'faster' : 'same' };
  });
}

/** Measures some rows. */
export type Benchmark = () => Promise<Record<string, Spread>>;

/**
 * Rows that seem slower are taken from a second run: what got slower is so in both, and what a busy moment did is not.
 * One that the second run lacks is left out.
 */
export async function measureAgainIfSlower(
  measure: Benchmark,
  baseline: Baseline,
): Promise<Record<string, Spread>> {
  const rows = await measure();
  const slower = compareWithBaseline(rows, baseline).filter(({ state }) => state === 'slower');
  if (slower.length === 0) return rows;
  progress(`slower than stored, so once more: ${slower.map(({ name }) => name).join('; ')}`);
  const again = await measure();
  for (const { name } of slower) {
    const row = again[name];
    if (row) rows[name] = row;
    else delete rows[name];
  }
  return rows;
}

/** What is stored of a run. */
export function baselineOf(measured: Readonly<Record<string, Spread>>): Baseline {
  const rounded = (value: number): number => Number(value.toPrecision(4));
  return Object.fromEntries(
    Object.entries(measured).map(([name, { median, min, max }]) => [
      name,
      { median: rounded(median), min: rounded(min), max: rounded(max) },
    ]),
  );
}
