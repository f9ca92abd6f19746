// `plug evaluate`: a fine-tuned model on examples, or any model on held-out text; alone or against another.
import { statSync } from 'node:fs';
import { setNumThreads } from '@openplug/torch';
import type { Command } from 'commander';
import { z } from 'zod';
import { resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import {
  evaluateTask,
  evaluationName,
  type FinetuneTask,
  findSplitFiles,
  finetuneSchema,
  type GenerationExample,
  keepEvaluation,
  loadTaskModel,
  PlugGenerator,
  readExamples,
  readTask,
  runOfModel,
  splitNames,
  type TaskScores,
  type WrittenScores,
  writeErrors,
  writtenScores,
} from '../finetune/index.js';
import { chooseDType } from '../pretrain/index.js';
import { type BoardReport, describeBoard, reportBoard } from './board.js';
import { defineCommand } from './command.js';
import {
  type ClassifierComparison,
  type CorpusComparison,
  compareClassifiers,
  compareOnCorpus,
  describeComparison,
} from './compare-models.js';
import { type CorpusScores, evaluateOnCorpus } from './evaluate-corpus.js';
import { describeScores, describeWritten } from './finetune-scores.js';
import { describeShots, runShots, type ShotReport } from './shots.js';
import { describeSubmission, type SubmissionReport, writeSubmission } from './submission.js';

const schema = z.strictObject({
  model: z.string().optional().describe('model folder, or the folder of a run that has made a model'),
  board: z
    .boolean()
    .default(false)
    .describe('the CLUE board: published rows, and the runs that are named as words, of its seven tasks'),
  submission: z
    .string()
    .optional()
    .describe(
      'write this zip for the site of CLUE or FewCLUE: predictions of the runs that are named as words',
    ),
  shots: z
    .int()
    .min(0)
    .optional()
    .describe(
      "score --task without a head, by how probable the decoder finds the labels' words: 0 as the model is, K after training on K examples of each label",
    ),
  task: z.string().optional().describe('with --shots: name of a task, or a task file'),
  out: z
    .string()
    .optional()
    .describe('with --shots: folder to leave the scores in; above 0 the run folder of the training'),
  promptTokens: finetuneSchema.shape.promptTokens.describe(
    'with --shots above 0: this many trained vectors in front of every text (P-tuning), 20 is usual; 0: none',
  ),
  promptOnly: finetuneSchema.shape.promptOnly.describe(
    'with --prompt-tokens: train them alone, on a frozen model',
  ),
  epochs: finetuneSchema.shape.epochs.describe(
    "with --shots above 0: passes over the examples; default: the task's",
  ),
  learningRate: finetuneSchema.shape.learningRate.describe('with --shots above 0: as for plug finetune'),
  seed: z.int().min(0).default(1).describe('with --shots: chooses the examples and keys the training'),
  calibrate: z
    .boolean()
    .default(true)
    .describe('with --shots: divide by how probable the words are without a text'),
  written: z
    .int()
    .min(0)
    .default(200)
    .describe(
      'source to target: texts to write and compare with their targets (BLEU, ROUGE, Distinct); 0: none',
    ),
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
  | { board: BoardReport }
  | { submission: SubmissionReport }
  | { shots: ShotReport | undefined }
  | { comparison: CorpusComparison | ClassifierComparison }
  | { model: string; corpus: CorpusScores }
  | {
      model: string;
      task: string;
      labels?: string[];
      files: string[];
      dropped: number;
      scores: TaskScores;
      written?: WrittenScores;
      /** Where the scores were left, if the model is a run's. */
      kept?: string;
    };

export function registerEvaluate(program: Command): void {
  defineCommand(program, {
    name: 'evaluate',
    summary: 'score a fine-tuned model on examples, or any model on held-out text; the CLUE board',
    description:
      'Classifiers: accuracy with its standard error, macro F1 and the confusion table. Source to target: bits per\n' +
      'character and perplexity of the targets. On a corpus: masked-LM and sentence accuracy, LM perplexity and bits\n' +
      'per character. Against a source: the scores of both on the same batches, how often both choose the same token\n' +
      '(or label), and how far their probabilities are apart. Scores of a run stay in it as evaluations/SPLIT.json, and\n' +
      'what was wrong as errors/SPLIT.jsonl.',
    words: [
      { name: '[runs...]', description: 'with --board or --submission: finished runs of plug finetune' },
    ],
    schema,
    examples: [
      ['plug evaluate --model runs/ocnli --data data/ocnli --split dev', 'the dev split of a folder'],
      [
        'plug evaluate --shots 0 --task fewclue-tnews --model runs/quickstart --data data/tnews --split test',
        'without any training: labels by how probable their words are',
      ],
      [
        'plug evaluate --shots 16 --prompt-tokens 20 --task fewclue-tnews --model runs/quickstart --data data/tnews --out runs/few',
        'after 16 examples of each label, with trained prompt vectors',
      ],
      ['plug evaluate --board runs/afqmc runs/tnews', 'two of the seven tasks beside the published rows'],
      [
        'plug evaluate --submission clue.zip runs/afqmc runs/tnews --data data/clue',
        'predictions for data/clue/afqmc/test.json and data/clue/tnews/test1.1.json, as the site takes them',
      ],
      ['plug evaluate --model runs/ocnli --data own.jsonl --json', 'own examples, one JSON object'],
      ['plug evaluate --model runs/quickstart/stage2 --corpus runs/quickstart/corpus', 'held-out text'],
      [
        'plug evaluate --model models/int4 --against runs/quickstart/stage2 --corpus runs/quickstart/corpus',
        'what int4 has cost',
      ],
    ],
    interruptible: true,
    async run({ settings, words, signal }): Promise<Result> {
      if (settings.threads !== undefined) setNumThreads(settings.threads);
      const scoring = {
        forward: { computeDType: chooseDType(settings.dtype) },
        tokensPerBatch: settings.tokensPerBatch,
      };
      if (settings.board) return { board: reportBoard(words) };
      if (settings.submission !== undefined)
        return {
          submission: await writeSubmission(settings.submission, words, settings.data ?? [], scoring),
        };
      if (words.length > 0)
        throw new ConfigError(
          `What is "${words[0]}" for? Runs are named with --board or --submission, models with --model.`,
        );
      if (settings.model === undefined)
        throw new ConfigError('Name a model with --model, or give --board or --submission.');
      const { shots } = settings;
      if (shots !== undefined) {
        const { model, data = [], ...rest } = settings;
        return { shots: await runShots({ ...rest, model, data, shots }, signal) };
      }
      if ((settings.data === undefined) === (settings.corpus === undefined))
        throw new ConfigError('Give either --data (examples of the task) or --corpus (held-out text).');
      const model = resolveModelFolder(settings.model);
      if (settings.against !== undefined)
        return { comparison: await compare(model, resolveModelFolder(settings.against), settings) };
      const computeDType = chooseDType(settings.dtype);
      if (settings.corpus !== undefined)
        return { model, corpus: evaluateOnCorpus(model, settings.corpus, { ...settings, computeDType }) };
      const { task } = readTask(model);
      const files = (settings.data ?? []).flatMap((path) => filesOf(path, task, settings.split));
      const { examples, dropped } = await readExamples(files, task);
      using taskModel = loadTaskModel(model);
      const { scores, rows } = evaluateTask(taskModel, examples, scoring);
      const texts =
        taskModel instanceof PlugGenerator && settings.written > 0
          ? await writtenScores(taskModel, examples as GenerationExample[], settings.written, scoring)
          : undefined;
      const made = { files, scores, ...(texts && { written: texts.scores }) };
      const run = runOfModel(model);
      let kept: string | undefined;
      if (run !== undefined) {
        const name = evaluationName(settings.data ?? [], files, settings.split);
        const predicted = texts?.rows ?? rows;
        try {
          if (predicted.length > 0) writeErrors(run, name, task, examples, predicted);
          kept = keepEvaluation(run, name, { task, model, ...made });
        } catch (error) {
          // The scores are what was asked for: a run that cannot be written to does not take them away.
          process.stderr.write(`The scores could not be kept in ${run}: ${(error as Error).message}\n`);
        }
      }
      const labels = task.kind === 'classification' && { labels: task.labels };
      return { model, task: task.name, ...labels, dropped, ...made, ...(kept !== undefined && { kept }) };
    },
    render(result) {
      if ('board' in result) return describeBoard(result.board);
      if ('submission' in result) return describeSubmission(result.submission);
      if ('shots' in result)
        return result.shots ? describeShots(result.shots) : 'Stopped; the same command continues.';
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
      const written = result.written ? `\n${describeWritten(result.written)}` : '';
      const kept = result.kept === undefined ? '' : `\nKept in ${result.kept}`;
      return describeScores(result.scores, result.labels) + written + left + kept;
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
