// What all benchmarks share: options, sides that take turns, medians with their spread, the check that both sides
// do the same work, and output (a table for people, one JSON line for programs).
import { OpenPlugError } from '@openplug/torch';
import { formatColumns } from '../openplug.js';

/** A benchmark cannot be run, or its two sides do not do the same work. */
export class BenchmarkError extends OpenPlugError {
  constructor(message: string, options?: ErrorOptions) {
    super('BENCHMARK', message, options);
  }
}

/** What the command line may ask of a benchmark. */
export interface BenchOptions {
  /** Only the JSON line on stdout. */
  json: boolean;
  /** Measured turns of each side, after one that is not counted. Default: each benchmark's own, at least 5. */
  rounds?: number | undefined;
  /** Only this shape. Default: all but the one for trials. */
  shape?: string | undefined;
  /** Only this compute dtype. Default: both. */
  dtype?: string | undefined;
  /** Only this dropout probability (training). Default: 0.1 and 0. */
  dropout?: string | undefined;
}

/** A measured quantity over the rounds. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  /** (max − min) / median. */
  spread: number;
}

/** @throws BenchmarkError without values */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new BenchmarkError('A median of no measurements was asked for.');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  const [min, max] = [sorted[0]!, sorted.at(-1)!];
  return { median, min, max, spread: (max - min) / median };
}

/**
 * The ratio of two sides, round by round: both turns of a round meet the same machine, so what else it does cancels.
 * @throws BenchmarkError when the sides have different numbers of rounds
 */
export function pairedRatio(numerators: readonly number[], denominators: readonly number[]): Spread {
  if (numerators.length !== denominators.length)
    throw new BenchmarkError(
      `One side has ${numerators.length} measurements and the other ${denominators.length}; they pair up by round.`,
    );
  return spreadOf(numerators.map((value, round) => value / denominators[round]!));
}

/** Measures the sides in turns: A B A B …; the first turn of each warms up and is not counted. */
export async function takeTurns<Name extends string>(
  rounds: number,
  sides: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(sides) as Name[];
  const measured = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = -1; round < rounds; round++)
    for (const name of names) {
      const value = await sides[name]();
      if (round >= 0) measured[name].push(value);
    }
  return measured;
}

/**
 * Checks that two sides computed the same numbers.
 * @param tolerance largest |ours − peer| / |peer|
 * @returns the largest that there is
 * @throws BenchmarkError when they differ by more, in number or in value, or are not finite
 */
export function checkAgreement(
  what: string,
  ours: readonly number[],
  peers: readonly number[],
  tolerance: number,
): number {
  const show = (values: readonly number[]): string => values.map((value) => value.toPrecision(7)).join(', ');
  const both = `ours ${show(ours)}; peer ${show(peers)}`;
  if (ours.length !== peers.length || ours.length === 0)
    throw new BenchmarkError(
      `${what}: ${ours.length} numbers against ${peers.length} of the peer (${both}).`,
    );
  const worst = ours.reduce(
    (most, value, index) => Math.max(most, Math.abs(value - peers[index]!) / Math.abs(peers[index]!)),
    0,
  );
  if (!(worst <= tolerance))
    throw new BenchmarkError(
      `${what}: the two sides do not do the same work, so their speeds cannot be compared. ` +
        `They differ by ${worst.toExponential(2)}, allowed is ${tolerance} (${both}).`,
    );
  return worst;
}

/** Items of a list that an option selects. @throws BenchmarkError for one that is not in the list */
export function selected<Item extends string>(
  what: string,
  items: readonly Item[],
  wanted: string | undefined,
  byDefault: readonly Item[] = items,
): readonly Item[] {
  if (wanted === undefined) return byDefault;
  const found = items.filter((item) => item === wanted);
  if (found.length === 0)
    throw new BenchmarkError(`Unknown ${what} "${wanted}". Known: ${items.join(', ')}.`);
  return found;
}

/** Writes the table (unless only JSON was asked for) and, last, the JSON line. */
export function report(options: BenchOptions, rows: readonly (readonly string[])[], result: object): void {
  if (!options.json) console.log(`${formatColumns(rows)}\n`);
  console.log(JSON.stringify(result));
}

/** What is being done, for whoever waits. */
export function progress(text: string): void {
  process.stderr.write(`· ${text}\n`);
}
