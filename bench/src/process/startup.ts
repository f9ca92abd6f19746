// Cold start: `plug generate` that writes one token, from starting the process to its end, the model read from disk (which
// the system may have in its cache); and the same with a model of no size, which is what Node, libtorch and the code cost.
import { spawnSync } from 'node:child_process';
import { buildInfo } from '@openplug/torch';
import { StoredModel } from '../case.js';
import { BenchmarkError, type BenchOptions, report, spreadOf, takeTurns } from '../harness/harness.js';
import { countParameters, program } from '../openplug.js';
import { computeDTypes, type Shape, type ShapeName, shapes } from '../shapes.js';

const defaultRounds = 5;
const prompt = '一丁七万丈三上下不与丐丑'; // of the made vocabulary
const oneToken = ['--max-length', '1', '--min-length', '1', '--temperature', '0'];

/** Seconds of a process that writes one token. */
async function coldStart(model: string, precision: string): Promise<number> {
  const parameters = [
    'generate',
    '--model',
    model,
    '--prompt',
    prompt,
    '--precision',
    precision,
    ...oneToken,
  ];
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...parameters], {
    encoding: 'utf8',
  });
  if (status !== 0 || stdout.trim() === '')
    throw new BenchmarkError(`plug generate wrote nothing:\n${stderr}`);
  return (performance.now() - started) / 1000;
}

/** Seconds to the first token, with a model of 130 million parameters and with a tiny one. */
export async function benchStartup(options: BenchOptions): Promise<void> {
  const names: ShapeName[] = options.shape === 'trial' ? ['trial'] : ['trial', 'base'];
  const rounds = options.rounds ?? defaultRounds;
  const results = [];
  for (const name of names) {
    const shape: Shape = shapes[name];
    using stored = new StoredModel(shape.config);
    for (const precision of computeDTypes) {
      const { start } = await takeTurns(rounds, { start: () => coldStart(stored.folder, precision) });
      results.push({ shape: name, precision, seconds: spreadOf(start) });
    }
  }
  const rows = [
    ['shape', 'parameters', 'dtype', 'seconds to the first token', 'spread'],
    ...results.map(({ shape, precision, seconds }) => [
      shape,
      `${(countParameters(shapes[shape].config) / 1e6).toFixed(0)} M`,
      precision,
      seconds.median.toFixed(2),
      `${(100 * seconds.spread).toFixed(0)} %`,
    ]),
  ];
  report(options, rows, { bench: 'startup', rounds, torchVersion: buildInfo().torchVersion, results });
}
