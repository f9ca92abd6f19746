// What a quantised model has lost against its source: on held-out text, and for classifiers on examples of their task.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { DType } from '@openplug/torch';
import {
  loadModel,
  openWeights,
  readModelConfig,
  readStoredPrecision,
  weightFiles,
} from '../checkpoint/index.js';
import { vocabularySha256 } from '../corpus/index.js';
import { ConfigError } from '../errors.js';
import {
  comparePaired,
  type Interval,
  type PairedComparison,
  pairedInterval,
  terminalTable,
} from '../evaluate/index.js';
import {
  type ClassificationExample,
  type ClassifierScores,
  evaluateClassifier,
  loadClassifier,
  readExamples,
  readTaskFile,
} from '../finetune/index.js';
import {
  type ComparedModel,
  charactersOf,
  compareLm,
  compareMaskedLm,
  type ModelPair,
  type PredictionComparison,
} from '../pretrain/index.js';
import { loadTokenizer } from '../text/index.js';
import { formatBytes } from './convert.js';
import { type CorpusEvaluationSettings, openSplit } from './evaluate-corpus.js';

/** Two model folders. */
export interface FolderPair {
  readonly source: string;
  readonly model: string;
}

/** Most that perplexity should rise by, in percent. */
const goals = { int8: 0.5, int4: 3 } as const;

/** What both comparisons say of the models. */
interface Sides {
  /** Folders. */
  source: string;
  model: string;
  /** How the weights are stored: packed in a precision, or plainly in a dtype. */
  storage: { source: string; model: string };
  /** Bytes of the files of weights. */
  bytes: { source: number; model: number };
}

export interface CorpusComparison extends Sides {
  /** Absent from encoder-only models. */
  lm?: PredictionComparison;
  /** Absent when no token of the corpus was masked. */
  maskedLm?: PredictionComparison;
  /** Of the model's precision, by LM perplexity (encoder-only models: masked-LM perplexity). */
  goal?: { perplexityChangePercent: number; reached: boolean };
}

export interface ClassifierComparison extends Sides {
  scores: { source: ClassifierScores; model: ClassifierScores };
  /** Share of examples to which both give the same label, in [0, 1]. */
  agreement: number;
  /** The model (first) and the source (second) on the same examples; the interval is of the difference, 95 %. */
  paired: PairedComparison & { interval: Interval };
}

/**
 * Compares two models on the held-out split of a token corpus; both are in memory at the same time.
 * @throws ConfigError when vocabularies, decoders or the corpus do not belong together, CorpusError when the corpus
 *   cannot be read, CheckpointError when a model cannot
 */
export function compareOnCorpus(
  folders: FolderPair,
  corpusFolder: string,
  settings: CorpusEvaluationSettings,
): CorpusComparison {
  checkComparable(folders);
  using heldOut = openSplit(folders.source, corpusFolder, settings);
  using source = loadModel(folders.source, { precision: readStoredPrecision(folders.source) });
  using model = loadModel(folders.model, { precision: readStoredPrecision(folders.model) });
  const compared = (one: typeof model): ComparedModel => ({
    model: one,
    options: one.precision ? one.inference : { computeDType: settings.computeDType },
  });
  const pair: ModelPair = { source: compared(source), model: compared(model) };
  const window = Math.min(source.config.maxPositionEmbeddings, model.config.maxPositionEmbeddings);
  const { batching, tokenizer } = heldOut;
  const lm =
    model.config.decHiddenLayers > 0
      ? compareLm(pair, heldOut.cuts(window), batching, charactersOf(tokenizer))
      : undefined;
  const maskedLm = compareMaskedLm(pair, heldOut.pairs(window), batching);
  const change = (lm ?? maskedLm)?.perplexityChangePercent;
  const most = model.precision === 'int8' || model.precision === 'int4' ? goals[model.precision] : undefined;
  return {
    ...sidesOf(folders),
    ...(lm && { lm }),
    ...(maskedLm && { maskedLm }),
    ...(most !== undefined &&
      change !== undefined && { goal: { perplexityChangePercent: most, reached: change <= most } }),
  };
}

/**
 * Compares two classifiers of one task on examples of it; their vocabularies may differ.
 * @throws ConfigError when one is no classifier, their labels differ, or there is no example
 */
export async function compareClassifiers(
  folders: FolderPair,
  files: readonly string[],
  settings: { computeDType: DType; tokensPerBatch: number },
): Promise<ClassifierComparison> {
  const examples = await readClassifierExamples(folders.source, files);
  using source = loadClassifier(folders.source);
  using model = loadClassifier(folders.model);
  if (`${source.task.labels}` !== `${model.task.labels}`)
    throw new ConfigError(
      `${folders.model} gives the labels ${model.task.labels.join(', ')}, but ${folders.source} gives ` +
        `${source.task.labels.join(', ')}: they are models of different tasks.`,
    );
  const evaluate = (classifier: typeof model) =>
    evaluateClassifier(classifier, examples, {
      forward: classifier.model.precision
        ? classifier.model.inference
        : { computeDType: settings.computeDType },
      tokensPerBatch: settings.tokensPerBatch,
    });
  const [bySource, byModel] = [evaluate(source), evaluate(model)];
  const labels = examples.map(({ label }) => label);
  const answers = [byModel.predictions, bySource.predictions, labels] as const;
  const agreeing = bySource.predictions.filter((label, at) => label === byModel.predictions[at]).length;
  return {
    ...sidesOf(folders),
    scores: { source: bySource.scores, model: byModel.scores },
    agreement: agreeing / examples.length,
    paired: { ...comparePaired(...answers), interval: pairedInterval(...answers) },
  };
}

/** Examples of the task of the classifier in `folder`. @throws ConfigError when it is none, or there is no example */
export async function readClassifierExamples(
  folder: string,
  files: readonly string[],
): Promise<ClassificationExample[]> {
  const task = readTaskFile(folder)?.task;
  if (task?.kind !== 'classification')
    throw new ConfigError(
      `${folder} is no classifier (it has no task.json of a classification task), and only classifiers are ` +
        'compared on examples: use --corpus.',
    );
  const { examples } = await readExamples(files, task);
  if (examples.length === 0) throw new ConfigError(`${files.join(', ')}: no example to compare on.`);
  return examples;
}

/** @throws ConfigError when the models cannot be compared token by token */
function checkComparable({ source, model }: FolderPair): void {
  const [sourceConfig, modelConfig] = [readModelConfig(source), readModelConfig(model)];
  for (const field of ['vocabSize', 'originalVocabSize', 'maskPaddingVocab'] as const)
    if (sourceConfig[field] !== modelConfig[field])
      throw new ConfigError(
        `${model} and ${source} cannot be compared: ${field} is ${modelConfig[field]} in the first and ` +
          `${sourceConfig[field]} in the second. Compare a model with the one that it was made from.`,
      );
  if (sourceConfig.decHiddenLayers > 0 !== modelConfig.decHiddenLayers > 0)
    throw new ConfigError(`${model} and ${source} cannot be compared: only one of them has a decoder.`);
  if (vocabularySha256(loadTokenizer(source)) !== vocabularySha256(loadTokenizer(model)))
    throw new ConfigError(
      `${model} and ${source} cannot be compared: they have different vocabularies. ` +
        'Compare a model with the one that it was made from.',
    );
}

function sidesOf(folders: FolderPair): Sides {
  const storage = (folder: string): string => {
    const precision = readStoredPrecision(folder);
    if (precision) return precision;
    using weights = openWeights(folder);
    return [...new Set(weights.names().map((name) => weights.info(name).dtype))].join(', ');
  };
  const bytes = (folder: string): number =>
    weightFiles(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  return {
    ...folders,
    storage: { source: storage(folders.source), model: storage(folders.model) },
    bytes: { source: bytes(folders.source), model: bytes(folders.model) },
  };
}

/** The report for people. */
export function describeComparison(compared: CorpusComparison | ClassifierComparison): string {
  return 'scores' in compared ? describeClassifiers(compared) : describePredictions(compared);
}

function describePredictions(compared: CorpusComparison): string {
  const { lm, maskedLm, goal, storage } = compared;
  const rows = [
    ...(lm ? predictionRows('LM', lm) : []),
    ...(maskedLm ? predictionRows('masked LM', maskedLm) : []),
    bytesRow(compared),
  ];
  const lines = [table(compared, rows).trimEnd()];
  for (const [name, part] of [
    ['LM', lm],
    ['masked LM', maskedLm],
  ] as const)
    if (part)
      lines.push(
        `${name}: the same token first at ${percent(part.agreement)} of ${part.positions.toLocaleString('en')} ` +
          `positions, KL divergence ${part.klDivergence.toPrecision(3)} nats`,
      );
  if (goal) {
    const change = signed((lm ?? maskedLm)!.perplexityChangePercent);
    lines.push(
      `goal of ${storage.model}: perplexity +${goal.perplexityChangePercent} % at most: ` +
        `${goal.reached ? 'reached' : 'missed'} (${change} %)`,
    );
  }
  return lines.join('\n');
}

function describeClassifiers(compared: ClassifierComparison): string {
  const { source, model } = compared.scores;
  const { onlyFirst, onlySecond, pValue, interval } = compared.paired;
  const share = ({ accuracy, standardError }: ClassifierScores): string =>
    `${percent(accuracy)} ± ${(100 * standardError).toFixed(2)}`;
  const rows = [
    ['accuracy', share(source), share(model), `${signed(100 * (model.accuracy - source.accuracy))} points`],
    ['loss', source.loss.toFixed(4), model.loss.toFixed(4), relative(source.loss, model.loss)],
    bytesRow(compared),
  ];
  return (
    `${table(compared, rows)}the same label for ${percent(compared.agreement)} of ` +
    `${source.numExamples.toLocaleString('en')} examples\n` +
    `only the model is right on ${onlyFirst}, only the source on ${onlySecond}: McNemar p = ${pValue.toPrecision(2)}, ` +
    `change of accuracy 95 %: ${signed(100 * interval.low)} to ${signed(100 * interval.high)} points`
  );
}

function predictionRows(name: string, part: PredictionComparison): string[][] {
  const { source, model } = part;
  const rows = [
    [
      `${name} perplexity`,
      source.perplexity.toFixed(3),
      model.perplexity.toFixed(3),
      `${signed(part.perplexityChangePercent)} %`,
    ],
    [`${name} loss`, source.loss.toFixed(4), model.loss.toFixed(4), relative(source.loss, model.loss)],
  ];
  const [before, after] = [source.bitsPerCharacter, model.bitsPerCharacter];
  if (before !== undefined && after !== undefined)
    rows.push([`${name} bits per character`, before.toFixed(4), after.toFixed(4), relative(before, after)]);
  return rows;
}

function bytesRow({ bytes: { source, model } }: Sides): string[] {
  return ['weights', formatBytes(source), formatBytes(model), relative(source, model)];
}

function table({ storage }: Sides, rows: string[][]): string {
  const numbers = [`source (${storage.source})`, `model (${storage.model})`, 'change'];
  return terminalTable(
    [{ header: '' }, ...numbers.map((header) => ({ header, align: 'right' as const }))],
    rows,
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

function relative(before: number, after: number): string {
  return `${signed(100 * (after / before - 1))} %`;
}

function signed(value: number): string {
  const text = value.toFixed(2);
  return text === '-0.00' ? '+0.00' : value < 0 ? text : `+${text}`;
}
