// `plug evaluate`: a fine-tuned model on examples, or any model on held-out text; alone or against another.
import { statSync } from 'node:fs';
import { setNumThreads } from '@openplug/torch';
import type { Command } from 'commander';
import { z } from 'zod';
import { resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import {
  evaluateTask,
  type FinetuneTask,
  findSplitFiles,
  loadTaskModel,
  readExamples,
  readTask,
  splitNames,
  type TaskScores,
} from '../finetune/index.js';
import { chooseDType } from '../pretrain/index.js';
import { defineCommand } from './command.js';
import {
  type ClassifierComparison,
  type CorpusComparison,
  compareClassifiers,
  compareOnCorpus,
  describeComparison,
} from './compare-models.js';
import { type CorpusScores, evaluateOnCorpus } from './evaluate-corpus.js';
import { describeScores } from './finetune-scores.js';

const schema = z.strictObject({
  model: z.string().describe('model folder, or the folder of a run that has made a model'),
  data: z
    .array(z.string())
    .min(1)
    .optional()
    .describe("examples of the model's task: files, or a folder with dev… or test… files"),
  against: z
    .string()
    .optional()
    .describe(
      'compare with this model, the one that --model was quantised from: change, agreement, KL divergence',
    ),
  split: z.enum(splitNames).default('dev').describe('which split of a folder'),
  corpus: z.string().optional().describe('token corpus, the heldOut split of which is scored'),
  dtype: z
    .enum(['auto', 'float32', 'bfloat16'])
    .default('auto')
    .describe('compute dtype of plain weights; auto with --against: float32'),
  tokensPerBatch: z.int().min(16).default(4096).describe('tokens of a batch at most'),
  threads: z.int().min(1).optional().describe("CPU threads, in place of libtorch's choice"),
  batches: z.int().min(1).default(64).describe('corpus: batches that are scored at most'),
  maxLength: z.int().min(5).default(512).describe('corpus: longest masked sequence, within the window'),
  minSideLength: z.int().min(1).default(32).describe('corpus: shortest source and target, in text tokens'),
  maxSideLength: z.int().min(1).default(512).describe('corpus: longest source and target, within the window'),
});

type Result =
  | { comparison: CorpusComparison | ClassifierComparison }
  | { model: string; corpus: CorpusScores }
  | {
      model: string;
      task: string;
      labels?: string[];
      files: string[];
      dropped: number;
      scores: TaskScores;
    };

export function registerEvaluate(program: Command): void {
  defineCommand(program, {
    name: 'evaluate',
    summary: 'score a fine-tuned model on examples, or any model on held-out text',
    description:
      'Classifiers: accuracy with its standard error, macro F1 and the confusion table. Source to target: bits per\n' +
      'character and perplexity of the targets. On a corpus: masked-LM and sentence accuracy, LM perplexity and bits\n' +
      'per character. Against a source: the scores of both on the same batches, how often both choose the same token\n' +
      '(or label), and how far their probabilities are apart.',
    schema,
    examples: [
      ['plug evaluate --model runs/ocnli --data data/ocnli --split dev', 'the dev split of a folder'],
      ['plug evaluate --model runs/ocnli --data own.jsonl --json', 'own examples, one JSON object'],
      ['plug evaluate --model runs/quickstart/stage2 --corpus runs/quickstart/corpus', 'held-out text'],
      [
        'plug evaluate --model models/int4 --against runs/quickstart/stage2 --corpus runs/quickstart/corpus',
        'what int4 has cost',
      ],
    ],
    async run({ settings }): Promise<Result> {
      if ((settings.data === undefined) === (settings.corpus === undefined))
        throw new ConfigError('Give either --data (examples of the task) or --corpus (held-out text).');
      if (settings.threads !== undefined) setNumThreads(settings.threads);
      const model = resolveModelFolder(settings.model);
      if (settings.against !== undefined)
        return { comparison: await compare(model, resolveModelFolder(settings.against), settings) };
      const computeDType = chooseDType(settings.dtype);
      if (settings.corpus !== undefined)
        return { model, corpus: evaluateOnCorpus(model, settings.corpus, { ...settings, computeDType }) };
      const { task } = readTask(model);
      const files = (settings.data ?? []).flatMap((path) => filesOf(path, task, settings.split));
      const { examples, dropped } = await readExamples(files, task);
      const { tokensPerBatch } = settings;
      using taskModel = loadTaskModel(model);
      const scores = evaluateTask(taskModel, examples, { forward: { computeDType }, tokensPerBatch });
      const labels = task.kind === 'classification' && { labels: task.labels };
      return { model, task: task.name, ...labels, files, dropped, scores };
    },
    render(result) {
      if ('comparison' in result) return describeComparison(result.comparison);
      if ('corpus' in result) {
        const lines = Object.entries(result.corpus).flatMap(([part, scores]) =>
          Object.entries(scores as Record<string, number>).map(
            ([name, value]) => `${part} ${name} ${value.toFixed(4)}`,
          ),
        );
        return lines.join('\n');
      }
      const left = result.dropped > 0 ? `\n${result.dropped} rows left out for their label` : '';
      return describeScores(result.scores, result.labels) + left;
    },
  });
}

async function compare(
  model: string,
  source: string,
  settings: z.output<typeof schema>,
): Promise<CorpusComparison | ClassifierComparison> {
  // What is lost is measured against the source at its best.
  const computeDType = settings.dtype === 'auto' ? 'float32' : settings.dtype;
  const { corpus, data = [], split } = settings;
  const folders = { source, model };
  if (corpus !== undefined) return compareOnCorpus(folders, corpus, { ...settings, computeDType });
  const files = data.flatMap((path) => filesOf(path, readTask(source).task, split));
  return await compareClassifiers(folders, files, { ...settings, computeDType });
}

function filesOf(path: string, task: FinetuneTask, split: (typeof splitNames)[number]): string[] {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [path];
  const found = findSplitFiles([path], task)[split];
  if (found.length === 0)
    throw new ConfigError(`${path} has no ${split}… file. Choose another --split, or name it.`);
  return found;
}
