// `plug quantize`: a model folder → one whose weights are packed for inference and used where they lie on disk; then,
// on a corpus or examples, what that has cost.
import type { Command } from 'commander';
import { z } from 'zod';
import {
  calibrated,
  checkNewFolder,
  type OpenedModel,
  openModelFolder,
  resolveModelFolder,
} from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { collectHessians, type Hessians } from '../pretrain/index.js';
import { defineCommand } from './command.js';
import {
  type ClassifierComparison,
  type CorpusComparison,
  compareClassifiers,
  compareOnCorpus,
  describeComparison,
  readClassifierExamples,
} from './compare-models.js';
import { type Converted, convert, describeConverted, packedField } from './convert.js';
import { openSplit } from './evaluate-corpus.js';
import { createProgress } from './progress.js';

const schema = z.strictObject({
  model: z.string().describe('model folder, or the folder of a run that has made a model'),
  out: z.string().describe('new folder for the packed model'),
  precision: packedField.default('int8'),
  calibrate: z
    .string()
    .optional()
    .describe(
      'int4: token corpus whose training text decides how weights are rounded (GPTQ), so that less is lost; ' +
        'takes the model in memory',
    ),
  calibrationTokens: z
    .int()
    .min(1)
    .default(32_768)
    .describe('calibrate: tokens that are read at most, about'),
  corpus: z
    .string()
    .optional()
    .describe(
      'token corpus: says what was lost on its heldOut split, against the source (see plug evaluate)',
    ),
  data: z
    .array(z.string())
    .min(1)
    .optional()
    .describe('files of examples, for a classifier: says what was lost on them'),
  batches: z.int().min(1).default(64).describe('corpus: batches that are compared at most'),
  tokensPerBatch: z.int().min(16).default(4096).describe('tokens of a batch at most'),
  maxLength: z.int().min(5).default(512).describe('corpora: longest masked sequence, within the window'),
  minSideLength: z.int().min(1).default(32).describe('corpora: shortest source and target, in text tokens'),
  maxSideLength: z
    .int()
    .min(1)
    .default(512)
    .describe('corpora: longest source and target, within the window'),
});

type Settings = z.output<typeof schema>;

/** How weights were calibrated. */
interface Calibration {
  corpus: string;
  tokens: number;
  linearLayers: number;
  seconds: number;
}

type Result = Converted & {
  calibration?: Calibration;
  comparisons?: (CorpusComparison | ClassifierComparison)[];
};

export function registerQuantize(program: Command): void {
  defineCommand<typeof schema, Result>(program, {
    name: 'quantize',
    summary: 'store weights in fewer bits, to be used where they lie on disk',
    description:
      'The result takes no memory of its own beyond what the system caches: it loads at once, and may be larger than\n' +
      'memory. The output embedding keeps 8 bits, tables of embeddings 16, biases and norms 32.',
    schema,
    interruptible: true,
    examples: [
      ['plug quantize --model runs/quickstart --out models/quickstart-int8', 'int8, a quarter of float32'],
      [
        'plug quantize --model runs/quickstart --out models/int4 --precision int4 --corpus runs/quickstart/corpus',
        'int4, and what it costs on held-out text',
      ],
      [
        'plug quantize --model runs/quickstart --out models/int4 --precision int4 --calibrate runs/quickstart/corpus',
        'int4 that loses less',
      ],
      ['plug generate --model models/quickstart-int8 --prompt 春', 'writes with it'],
    ],
    async run({ settings, signal }) {
      const { out, corpus, data } = settings;
      const source = resolveModelFolder(settings.model);
      if (settings.calibrate !== undefined && settings.precision !== 'int4')
        throw new ConfigError(
          `--calibrate is for --precision int4: rounding to ${settings.precision} loses next to nothing. Leave it out.`,
        );
      checkNewFolder(out);
      // Before hours of writing: a corpus of another vocabulary, or a file that is not there, is found now.
      if (corpus !== undefined) openSplit(source, corpus, settings)[Symbol.dispose]();
      if (data) await readClassifierExamples(source, data);
      using model = openModelFolder(source);
      const started = performance.now();
      using hessians = await calibrate(model, source, settings, signal);
      const calibration: Calibration | undefined = hessians && {
        corpus: settings.calibrate!,
        tokens: hessians.tokens,
        linearLayers: hessians.byWeight.size,
        seconds: (performance.now() - started) / 1000,
      };
      const rounded = hessians ? calibrated(model, hessians.byWeight) : model;
      const converted = await convert(rounded, out, { precision: settings.precision }, signal);
      const folders = { source, model: out };
      const options = { ...settings, computeDType: 'float32' } as const;
      const comparisons: (CorpusComparison | ClassifierComparison)[] = [];
      if (corpus !== undefined) comparisons.push(compareOnCorpus(folders, corpus, options));
      if (data) comparisons.push(await compareClassifiers(folders, data, options));
      return {
        ...converted,
        ...(calibration && { calibration }),
        ...(comparisons.length > 0 && { comparisons }),
      };
    },
    render: (result) =>
      [
        [
          describeConverted(result),
          ...(result.calibration ? [describeCalibration(result.calibration)] : []),
        ].join('\n'),
        ...(result.comparisons ?? []).map(describeComparison),
      ].join('\n\n'),
  });
}

/** What is to be known of the layers' inputs, if calibration is asked for. */
async function calibrate(
  model: OpenedModel,
  folder: string,
  settings: Settings,
  signal: AbortSignal,
): Promise<Hessians | undefined> {
  const { calibrate: corpus, calibrationTokens: tokens, tokensPerBatch } = settings;
  if (corpus === undefined) return undefined;
  using split = openSplit(folder, corpus, settings, 'train');
  const { maxPositionEmbeddings: window, decHiddenLayers } = model.config;
  const texts = {
    pairs: split.pairs(window),
    ...(decHiddenLayers > 0 && { cuts: split.cuts(window) }),
  };
  const bar = createProgress({ label: 'calibrating', total: tokens, unit: 'tokens' });
  const hessians = await collectHessians(
    model,
    texts,
    { seed: split.batching.seed, tokensPerBatch, tokens },
    { signal, onProgress: (read) => bar.update(read) },
  );
  bar.finish();
  return hessians;
}

function describeCalibration({ corpus, tokens, linearLayers, seconds }: Calibration): string {
  return (
    `calibrated by GPTQ: ${linearLayers} linear layers on ${tokens.toLocaleString('en')} tokens of ${corpus}, ` +
    `read in ${seconds.toFixed(1)} s`
  );
}
