// A model that is used where it lies on disk: loading, encoding, decoding and memory, beside what the machine can do.
// The model is written once, with random weights, into an ignored folder; `--shape trial` is a small stand-in.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildInfo } from '@openplug/torch';
import { caseSeed, type GivenModel } from '../case.js';
import { type BenchOptions, progress, report, selected, spreadOf } from '../harness/harness.js';
import { ourSide } from '../harness/side.js';
import {
  bytesOf,
  countParameters,
  newModel,
  openWeights,
  type PlugConfig,
  plugConfigOfSize,
  type StoredPrecision,
  storedPrecisions,
  writeModelFolder,
} from '../openplug.js';
import { shapes } from '../shapes.js';

const defaultRounds = 5;
const newTokens = 8;
const folders = fileURLToPath(new URL('../../models', import.meta.url));

const models: Record<string, { config: () => PlugConfig; prompts: readonly number[] }> = {
  '27b': { config: () => plugConfigOfSize('27b', 21128), prompts: [128, 512] },
  '3b': { config: () => plugConfigOfSize('3b', 21128), prompts: [128, 512] },
  trial: { config: () => shapes.trial.config, prompts: [16, 32] },
};

/** The folder of a model, written if it is not there. */
async function modelFolder(name: string, precision: StoredPrecision): Promise<string> {
  const folder = join(folders, `${name}-${precision}`);
  if (existsSync(join(folder, 'config.json'))) return folder;
  progress(`stored: writing ${folder}, once`);
  using model = newModel(models[name]!.config(), caseSeed);
  await writeModelFolder(folder, model, { precision });
  return folder;
}

/** Bytes of weights that a step of decoding reads: the decoder's, but what is computed once, and the output embedding. */
function bytesPerStep(folder: string): number {
  using weights = openWeights(folder);
  return weights
    .names()
    .filter((name) => /^decoder\.|^cls\.predictions\.decoder_weight/.test(name))
    .filter((name) => !/cross_attention\.key_value/.test(name))
    .reduce((sum, name) => sum + bytesOf(weights.info(name)), 0);
}

/** Operations of encoding one text: products, and attention to all tokens. */
function encodingOperations(
  { hiddenSize: e, intermediateSize: f, numHiddenLayers }: PlugConfig,
  length: number,
): number {
  return 2 * numHiddenLayers * length * (4 * e * e + 2 * e * f + 2 * length * e);
}

interface Measured {
  loadSeconds: number;
  /** The first encoding, whose weights come from disk or from the system's cache. */
  firstSeconds: number;
  encode: { length: number; seconds: number; shareOfProducts: number }[];
  tokensPerSecond: number;
  shareOfRead: number;
  memory: Record<string, number>;
}

async function measure(
  folder: string,
  name: string,
  precision: StoredPrecision,
  rounds: number,
): Promise<Measured> {
  const { config, prompts } = models[name]!;
  const temporary = mkdtempSync(join(tmpdir(), 'openplug-bench-'));
  const casePath = join(temporary, 'case.json');
  writeFileSync(
    casePath,
    JSON.stringify({ model: folder, threads: availableParallelism() } satisfies GivenModel),
  );
  try {
    await using side = ourSide('stored/side.js', casePath);
    await using machine = ourSide('stored/side.js', casePath); // by itself: what it takes is not the model's
    const loadSeconds = await side.number({ do: 'load' }, 'seconds');
    progress('stored: encoding');
    const firstSeconds = await side.number({ do: 'encode', length: prompts[0]! }, 'seconds');
    const size = Math.min(8192, 4 * config().hiddenSize);
    const multiplied = precision === 'bfloat16' ? precision : 'int8'; // int4 is widened to int8
    const times = prompts.map(() => [] as number[]);
    const [steps, readRates, productRates]: number[][] = [[], [], []];
    for (let round = 0; round < rounds; round++) {
      for (const [index, length] of prompts.entries())
        times[index]!.push(await side.number({ do: 'encode', length }, 'seconds'));
      const { seconds } = await side.ask({ do: 'decode', length: prompts[0]!, steps: newTokens });
      steps!.push(...(seconds as number[]));
      readRates!.push(await machine.number({ do: 'readRate' }, 'bytesPerSecond'));
      const product = { do: 'productRate', size, precision: multiplied };
      productRates!.push(await machine.number(product, 'operationsPerSecond'));
    }
    const step = spreadOf(steps!).median;
    const [readRate, productRate] = [readRates!, productRates!].map((rates) => spreadOf(rates).median) as [
      number,
      number,
    ];
    return {
      loadSeconds,
      firstSeconds,
      encode: prompts.map((length, index) => {
        const seconds = spreadOf(times[index]!).median;
        return {
          length,
          seconds,
          shareOfProducts: encodingOperations(config(), length) / seconds / productRate,
        };
      }),
      tokensPerSecond: 1 / step,
      shareOfRead: bytesPerStep(folder) / step / readRate,
      memory: (await side.ask({ do: 'memory' })) as Record<string, number>,
    };
  } finally {
    rmSync(temporary, { recursive: true });
  }
}

/** One model, in each precision that is asked for. Default: 27b in int4. */
export async function benchStored(options: BenchOptions): Promise<void> {
  const [name] = selected('shape', Object.keys(models), options.shape, ['27b']) as [string];
  const results = [];
  for (const precision of selected('dtype', storedPrecisions, options.dtype, ['int4'])) {
    const folder = await modelFolder(name, precision);
    results.push({
      name,
      precision,
      ...(await measure(folder, name, precision, options.rounds ?? defaultRounds)),
    });
  }
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
  const rows = results.flatMap((result) => [
    [
      'model',
      `${name}, ${result.precision}, ${countParameters(models[name]!.config()).toLocaleString('en')} parameters`,
    ],
    ['loading', `${result.loadSeconds.toFixed(2)} s`],
    ['first encoding', `${result.firstSeconds.toFixed(1)} s`],
    ...result.encode.map(({ length, seconds, shareOfProducts }) => [
      `encoding ${length} tokens`,
      `${seconds.toFixed(2)} s, ${percent(shareOfProducts)} of the rate of a large product`,
    ]),
    [
      'decoding',
      `${result.tokensPerSecond.toFixed(2)} tokens/s, ${percent(result.shareOfRead)} of the rate of reading`,
    ],
    [
      'resident',
      `${gigabytes(result.memory.peakBytes!)} at most, ${gigabytes(result.memory.fileBytes!)} of it pages of the file`,
    ],
  ]);
  report(options, rows, { bench: 'stored', torchVersion: buildInfo().torchVersion, results });
}
