// `npm run bench`: lists the benchmarks, or runs one.
import { parseArgs } from 'node:util';
import { OpenPlugError } from '@openplug/torch';
import { benchDecode } from './decode/decode.js';
import { BenchmarkError, type BenchOptions } from './harness/harness.js';
import { benchKernels } from './kernels.js';
import { formatColumns } from './openplug.js';
import { shapeNames } from './shapes.js';
import { benchTrain } from './train/train.js';

interface Benchmark {
  summary: string;
  run(options: BenchOptions): Promise<void>;
}

const benchmarks: Readonly<Record<string, Benchmark>> = {
  train: { summary: 'training tokens/s against the same model in plain PyTorch', run: benchTrain },
  decode: {
    summary: 'greedy decoding tokens/s against recomputing the decoder at each step',
    run: benchDecode,
  },
  kernels: { summary: 'each fused kernel against the library operators that it replaces', run: benchKernels },
};

function help(): string {
  return [
    'Usage: npm run bench -- NAME [--json] [--rounds N] [--shape S] [--dtype D] [--dropout P]',
    '',
    formatColumns(Object.entries(benchmarks).map(([name, { summary }]) => [`  ${name}`, summary])),
    '',
    '  --json      only the JSON line on stdout',
    '  --rounds N  measured turns of each side',
    `  --shape S   only this shape: ${shapeNames.join(', ')} (trial is small and only shows that all works)`,
    '  --dtype D   only this compute dtype: bfloat16, float32',
    '  --dropout P train: only this probability, 0.1 or 0',
  ].join('\n');
}

function parsed(args: string[]): { name: string | undefined; options: BenchOptions } {
  const text = { type: 'string' } as const;
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { json: { type: 'boolean' }, rounds: text, shape: text, dtype: text, dropout: text },
    });
    if (positionals.length > 1)
      throw new BenchmarkError(`One benchmark at a time, got ${positionals.join(', ')}.`);
    const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
    if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))
      throw new BenchmarkError(`--rounds is "${values.rounds}"; it must be a whole number of at least 1.`);
    const { json = false, shape, dtype, dropout } = values;
    const options = { json, rounds, shape, dtype, dropout };
    return { name: positionals[0], options };
  } catch (error) {
    if (error instanceof BenchmarkError) throw error;
    throw new BenchmarkError((error as Error).message, { cause: error });
  }
}

try {
  const { name, options } = parsed(process.argv.slice(2));
  if (name === undefined) console.log(help());
  else {
    const benchmark = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined;
    if (!benchmark) throw new BenchmarkError(`There is no benchmark "${name}".\n\n${help()}`);
    await benchmark.run(options);
  }
} catch (error) {
  if (!(error instanceof OpenPlugError)) throw error;
  console.error(`Error: ${error.message}`);
  process.exitCode = 1;
}
