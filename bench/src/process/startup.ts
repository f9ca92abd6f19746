// Cold start: from starting a process to the first written token, the model read from disk (which the system may have
// in its cache), and the same with a model of no size, which is what Node, libtorch and the code cost.
import { buildInfo } from '@openplug/torch';
import { caseSeed, StoredModel } from '../case.js';
import { type DecodeCase, promptsOf } from '../decode/case.js';
import { type BenchOptions, report, spreadOf, takeTurns } from '../harness/harness.js';
import { ourSide } from '../harness/side.js';
import { countParameters } from '../openplug.js';
import { computeDTypes, type Shape, type ShapeName, shapes, special } from '../shapes.js';

const defaultRounds = 5;

/** Seconds from spawning a process to its first token. */
async function coldStart(path: string): Promise<number> {
  const started = performance.now();
  await using side = ourSide('decode/side.js', path);
  await side.ask({ do: 'first' });
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
      const given: DecodeCase = {
        precision,
        prompts: promptsOf({ ...shape, promptLength: 16 }, 1, caseSeed),
        newTokens: 1,
        endId: special.sep,
        forbiddenIds: Object.values(special),
      };
      const path = stored.storeCase(given);
      const { start } = await takeTurns(rounds, { start: () => coldStart(path) });
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
