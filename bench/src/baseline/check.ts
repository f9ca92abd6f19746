// `npm run bench -- --check` and `--update`: a short run of the rows that matter, against `bench/baseline.json`.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { benchTokenize } from '../data/tokenize.js';
import { benchDecode } from '../decode/decode.js';
import { benchEncode } from '../encode/encode.js';
import { BenchmarkError, type BenchOptions, type Spread } from '../harness/harness.js';
import { formatColumns } from '../openplug.js';
import { benchTrain } from '../train/train.js';
import { type Baseline, baselineOf, compareWithBaseline } from './baseline.js';

const path = fileURLToPath(new URL('../../baseline.json', import.meta.url));

const defaultRounds = 3;

/** The rows: the shape that all goals are about, in the dtypes that are used. */
async function measureAll(given: BenchOptions): Promise<Record<string, Spread>> {
  const options = { ...given, rounds: given.rounds ?? defaultRounds };
  const at = (dtype: string, more: Partial<BenchOptions> = {}): BenchOptions => ({
    ...options,
    shape: options.shape ?? 'reference',
    dtype,
    ...more,
  });
  return {
    ...(await benchTrain(at('bfloat16', { dropout: '0.1' }))),
    ...(await benchDecode(at('float32'))),
    ...(await benchEncode(at('bfloat16'))),
    ...(await benchTokenize(options)),
  };
}

/** Runs the rows and stores their ratios. */
export async function updateBaseline(options: BenchOptions): Promise<void> {
  const baseline = baselineOf(await measureAll(options));
  writeFileSync(path, `${JSON.stringify(baseline, null, 2)}\n`);
  console.log(`${Object.keys(baseline).length} ratios stored in ${path}`);
}

/** Runs the rows and compares. @throws BenchmarkError naming each row that got slower or was not measured */
export async function checkBaseline(options: BenchOptions): Promise<void> {
  let baseline: Baseline;
  try {
    baseline = JSON.parse(readFileSync(path, 'utf8')) as Baseline;
  } catch (error) {
    throw new BenchmarkError(
      `${path} cannot be read (${(error as Error).message}). Make it with npm run bench -- --update.`,
    );
  }
  const verdicts = compareWithBaseline(await measureAll(options), baseline);
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
