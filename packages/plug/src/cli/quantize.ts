// `plug quantize`: a model folder → one whose weights are packed for inference and used where they lie on disk; then,
// on a corpus or examples, what that has cost.
import type { Command } from 'commander';
import { z } from 'zod';
import { openModelFolder, resolveModelFolder } from '../checkpoint/index.js';
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
import { openHeldOut } from './evaluate-corpus.js';

const schema = z.strictObject({
  model: z.string().describe('model folder, or the folder of a run that has made a model'),
  out: z.string().describe('new folder for the packed model'),
  precision: packedField.default('int8'),
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
  maxLength: z.int().min(5).default(512).describe('corpus: longest masked sequence, within the window'),
  minSideLength: z.int().min(1).default(32).describe('corpus: shortest source and target, in text tokens'),
  maxSideLength: z.int().min(1).default(512).describe('corpus: longest source and target, within the window'),
});

type Result = Converted & { comparisons?: (CorpusComparison | ClassifierComparison)[] };

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
      ['plug generate --model models/quickstart-int8 --prompt 春', 'writes with it'],
    ],
    async run({ settings, signal }) {
      const { out, corpus, data } = settings;
      const source = resolveModelFolder(settings.model);
      // Before hours of writing: a corpus of another vocabulary, or a file that is not there, is found now.
      if (corpus !== undefined) openHeldOut(source, corpus, settings)[Symbol.dispose]();
      if (data) readClassifierExamples(source, data);
      using model = openModelFolder(source);
      const converted = await convert(model, out, { precision: settings.precision }, signal);
      const folders = { source, model: out };
      const options = { ...settings, computeDType: 'float32' } as const;
      const comparisons: (CorpusComparison | ClassifierComparison)[] = [];
      if (corpus !== undefined) comparisons.push(compareOnCorpus(folders, corpus, options));
      if (data) comparisons.push(compareClassifiers(folders, data, options));
      return comparisons.length > 0 ? { ...converted, comparisons } : converted;
    },
    render: (result) =>
      [describeConverted(result), ...(result.comparisons ?? []).map(describeComparison)].join('\n\n'),
  });
}
