// `npm run bench -- --check` and `--update`: a short run of the rows that matter, against `bench/baseline.json`.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { benchTokenize } from '../data/tokenize.js';
import { benchDecode } from '../decode/decode.js';
import { benchEncode } from '../encode/encode.js';
import { BenchmarkError, type BenchOptions, type Spread } from '../harness/harness.js';
import { formatColumns } from '../openplug.js';
import { type ComputeDType, type ShapeName, usualDType } from '../shapes.js';
import { benchTrain } from '../train/train.js';
import {
  type Baseline,
  type Benchmark,
  baselineOf,
  compareWithBaseline,
  measureAgainIfSlower,
} from './baseline.js';

const path = fileURLToPath(new URL('../../baseline.json', import.meta.url));

const defaultRounds = 3;

/**
 * Ratios depend on the processor, so there is a baseline for each kind: those that multiply bfloat16 in hardware train
 * in it; others train in float32, several times slower, and are given a smaller shape, so that a check ends in minutes.
 */
const trainedShape = {
  bfloat16: 'reference',
  float32: 'quickstart',
} as const satisfies Record<ComputeDType, ShapeName>;

/** Training and classifying in the dtype of the machine, decoding of the shape that the goals are about. */
function benchmarksOf(given: BenchOptions): Benchmark[] {
  const options = { ...given, rounds: given.rounds ?? defaultRounds };
  const dtype = usualDType();
  const shape = trainedShape[dtype];
  const at = (dtype: string, shape: string, more: Partial<BenchOptions> = {}): BenchOptions => ({
    ...options,
    shape: options.shape ?? shape,
    dtype,
    ...more,
  });
  return [
    () => benchTrain(at(dtype, shape, { dropout: '0.1' })),
    () => benchDecode(at('float32', 'reference')),
    () => benchEncode(at(dtype, shape)),
    () => benchTokenize(options),
  ];
}

type StoredBaselines = Partial<Record<ComputeDType, Baseline>>;

function readBaselines(): StoredBaselines {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as StoredBaselines;
  } catch (error) {
    const reason = (error as Error).message;
    throw new BenchmarkError(
      `${path} cannot be read (${reason}). Delete it and run npm run bench -- --update.`,
    );
  }
}

/**
 * Runs the rows; compares their ratios with the stored ones if `check`, and then stores them if `update`.
 * @throws BenchmarkError naming each row that got slower or was not measured; nothing is stored then
 */
export async function benchBaseline(
  { check, update }: { check: boolean; update: boolean },
  options: BenchOptions,
): Promise<void> {
  const kind = usualDType();
  const stored = check || existsSync(path) ? readBaselines() : {};
  const baseline = check ? stored[kind] : undefined;
  if (check && !baseline)
    throw new BenchmarkError(
      `${path} has no ratios of machines that train in ${kind}. Make them with npm run bench -- --update.`,
    );
  const measured: Record<string, Spread> = {};
  for (const measure of benchmarksOf(options))
    Object.assign(measured, await (baseline ? measureAgainIfSlower(measure, baseline) : measure()));
  if (baseline) compare(measured, baseline);
  if (!update) return;
  writeFileSync(path, `${JSON.stringify({ ...stored, [kind]: baselineOf(measured) }, null, 2)}\n`);
  console.log(`${Object.keys(measured).length} ratios stored in ${path}, as ${kind}`);
}

function compare(measured: Record<string, Spread>, baseline: Baseline): void {
  const verdicts = compareWithBaseline(measured, baseline);
  const shown = (value: number | undefined): string => (value === undefined ? '–' : `×${value.toFixed(2)}`);
  const rows = verdicts.map(({ name, now, stored, limit, state }) => [
    name,
    shown(now),
    shown(stored),
    shown(limit),
    state,
  ]);
  console.log(formatColumns([['row', 'now', 'stored', 'limit', ''], ...rows]));
  const failed = verdicts.filter(({ state }) => state === 'slower' || state === 'missing');
  if (failed.length === 0) return;
  const list = failed.map(({ name, now, limit, state }) =>
    state === 'missing'
      ? `  ${name}: not measured`
      : `  ${name}: ${shown(now)}, at least ${shown(limit)} was expected`,
  );
  throw new BenchmarkError(
    `${failed.length} of ${verdicts.length} ratios are worse than the baseline by more than the noise:\n${list.join('\n')}`,
  );
}
