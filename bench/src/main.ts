// `npm run bench`: lists the benchmarks, or runs one.
import { parseArgs } from 'node:util';
import { OpenPlugError } from '@openplug/torch';
import { benchBaseline } from './baseline/check.js';
import { benchData } from './data/data.js';
import { benchTokenize } from './data/tokenize.js';
import { benchDecode } from './decode/decode.js';
import { benchEncode } from './encode/encode.js';
import { benchFinetune } from './finetune/finetune.js';
import { BenchmarkError, type BenchOptions } from './harness/harness.js';
import { benchKernels } from './kernels.js';
import { benchRoofline } from './machine/roofline.js';
import { formatColumns } from './openplug.js';
import { benchPlan } from './plan/plan.js';
import { benchMemory } from './process/memory.js';
import { benchStartup } from './process/startup.js';
import { benchServe } from './serve/load.js';
import { benchSoak } from './serve/soak.js';
import { shapeNames } from './shapes.js';
import { benchStored } from './stored/stored.js';
import { benchScaling } from './train/scaling.js';
import { benchTrain } from './train/train.js';

interface Benchmark {
  summary: string;
  run(options: BenchOptions): Promise<unknown>;
}

const benchmarks: Readonly<Record<string, Benchmark>> = {
  roofline: {
    summary: 'what the machine can do: matrix products, memory, operator calls',
    run: benchRoofline,
  },
  train: { summary: 'training against plain PyTorch and compiled PyTorch 2', run: benchTrain },
  decode: { summary: 'greedy decoding against recomputing all, and CTranslate2', run: benchDecode },
  encode: { summary: 'classification of mixed lengths against PyTorch and ONNX Runtime', run: benchEncode },
  finetune: {
    summary: 'fine-tuning a classifier against the usual PyTorch loop; memory of adapters',
    run: benchFinetune,
  },
  tokenize: { summary: 'the tokenizer against Hugging Face’s', run: benchTokenize },
  data: { summary: 'building samples against the step that they feed', run: benchData },
  startup: { summary: 'a new process up to its first token', run: benchStartup },
  memory: { summary: 'peak memory of training against PyTorch', run: benchMemory },
  plan: { summary: 'memory that `plug plan` reckons against what training takes', run: benchPlan },
  stored: {
    summary: 'a model of 27 billion parameters, used where it lies on disk',
    run: benchStored,
  },
  serve: {
    summary: '1 to 128 streams of a server: first token, tokens a second, gain of batching',
    run: benchServe,
  },
  soak: { summary: '10,000 requests of a server, some that hang up or are wrong', run: benchSoak },
  scaling: { summary: 'training over hidden size, length and batch', run: benchScaling },
  kernels: { summary: 'each fused kernel against the library operators that it replaces', run: benchKernels },
};

function help(): string {
  return [
    'Usage: npm run bench -- NAME [--json] [--rounds N] [--shape S] [--dtype D] [--dropout P]',
    '',
    formatColumns(Object.entries(benchmarks).map(([name, { summary }]) => [`  ${name}`, summary])),
    '',
    '  --check     compares the ratios of a short run with bench/baseline.json; --update stores them; both: first one, then',
    '              the other, if nothing got slower',
    '  --json      only the JSON line on stdout',
    '  --rounds N  measured turns of each side',
    `  --shape S   only this shape: ${shapeNames.join(', ')} (trial is small and only shows that all works)`,
    '  --dtype D   only this compute dtype: bfloat16, float32 (decode, encode: int8)',
    '  --dropout P train: only this probability, 0.1 or 0',
  ].join('\n');
}

interface Asked {
  name: string | undefined;
  /** Compare with the stored ratios, store them. */
  check: boolean;
  update: boolean;
  options: BenchOptions;
}

function parsed(args: string[]): Asked {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        json: flag,
        rounds: text,
        shape: text,
        dtype: text,
        dropout: text,
        check: flag,
        update: flag,
      },
    });
    if (positionals.length > 1)
      throw new BenchmarkError(`One benchmark at a time, got ${positionals.join(', ')}.`);
    const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
    if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))
      throw new BenchmarkError(`--rounds is "${values.rounds}"; it must be a whole number of at least 1.`);
    const { json = false, check = false, update = false, shape, dtype, dropout } = values;
    return { name: positionals[0], check, update, options: { json, rounds, shape, dtype, dropout } };
  } catch (error) {
    if (error instanceof BenchmarkError) throw error;
    throw new BenchmarkError((error as Error).message, { cause: error });
  }
}

try {
  const { name, check, update, options } = parsed(process.argv.slice(2));
  if (check || update) await benchBaseline({ check, update }, options);
  else if (name === undefined) console.log(help());
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
