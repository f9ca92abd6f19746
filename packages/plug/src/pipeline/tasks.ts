// What pipelines take and give, by kind, and how each is computed. Runs where the model is: in the worker.
import { noGrad, scope } from '@openplug/torch';
import { loadModel, readStoredPrecision, resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { encodeText } from '../finetune/encoding.js';
import { scoringBatches } from '../finetune/example-batches.js';
import {
  loadChooser,
  loadClassifier,
  loadSpanReader,
  type PromptedTask,
  parseTask,
  predictZeroShot,
} from '../finetune/index.js';
import { type GenerationSettings, generate } from '../generate/index.js';
import { type PlugModel, packTexts, textBatch } from '../model/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';

/** A label with its probability, and those of all labels, the most probable first. */
export interface Classification {
  label: string;
  probability: number;
  labels: { label: string; probability: number }[];
}

/** Input and output of each kind of pipeline, and what it may be given besides a model. */
export interface PipelineKinds {
  /** One label for a text. */
  classify: { input: string; output: Classification; options: object };
  /** One label for two texts. */
  pair: { input: { text: string; textPair: string }; output: Classification; options: object };
  /** One of several candidates for a text. */
  choose: {
    input: { text: string; candidates: readonly string[] };
    output: { candidate: string; index: number; probability: number; probabilities: number[] };
    options: object;
  };
  /** The part of a text that answers a question; `start` in UTF-16 units. */
  answer: {
    input: { question: string; context: string };
    output: { answer: string; start: number; probability: number };
    options: object;
  };
  /** One label for a text, without fine-tuning: by how probable the decoder finds the labels' words after it. */
  label: { input: string; output: Classification; options: LabelOptions };
  /** A continuation; prompts that are given together are decoded together. */
  generate: { input: string; output: string; options: GenerationSettings };
  /** A vector of the hidden size. */
  embed: { input: string; output: Float32Array; options: EmbeddingOptions };
}

export interface LabelOptions {
  /** Words or phrases to choose from. */
  labels: readonly string[];
  /** What the encoder reads, `{text}` standing for the text. Default `{text}`. */
  source?: string;
  /** What stands in front of the label in the decoder. Default `类别：`. */
  before?: string;
}

export interface EmbeddingOptions {
  /** `mean` of the final states of a text's tokens (default), or that of its first token. */
  pooling?: 'mean' | 'first';
  /** Scale vectors to length 1, so that their product is the cosine. Default true. */
  normalize?: boolean;
}

export type PipelineKind = keyof PipelineKinds;
export type PipelineInput<Kind extends PipelineKind> = PipelineKinds[Kind]['input'];
export type PipelineOutput<Kind extends PipelineKind> = PipelineKinds[Kind]['output'];

/** A loaded model that answers batches of inputs. */
export type Runner<Kind extends PipelineKind> = (
  inputs: readonly PipelineInput<Kind>[],
) => Promise<PipelineOutput<Kind>[]> | PipelineOutput<Kind>[];

/** How a runner is made, by kind. @throws ConfigError when the model was not made for that */
export const runners: {
  [Kind in PipelineKind]: (model: string, options: PipelineKinds[Kind]['options']) => Runner<Kind>;
} = {
  classify(folder) {
    const classifier = loadClassifier(folder);
    if (classifier.task.columns.textPair !== undefined)
      throw new ConfigError(`${folder} classifies pairs of texts: use pipeline('pair', …).`);
    return (texts) =>
      classifier.predict(texts.map((text) => ({ text }))).map(labelled(classifier.task.labels));
  },
  pair(folder) {
    const classifier = loadClassifier(folder);
    if (classifier.task.columns.textPair === undefined)
      throw new ConfigError(`${folder} classifies single texts: use pipeline('classify', …).`);
    return (pairs) => classifier.predict(pairs).map(labelled(classifier.task.labels));
  },
  choose(folder) {
    const chooser = loadChooser(folder);
    return (inputs) =>
      chooser.predict(inputs).map(({ candidate, choice, probabilities }) => ({
        candidate,
        index: choice,
        probability: probabilities[choice]!,
        probabilities: Array.from(probabilities),
      }));
  },
  answer(folder) {
    const reader = loadSpanReader(folder);
    return (inputs) =>
      reader
        .predict(inputs)
        .map(({ answer, answerStart: start, probability }) => ({ answer, start, probability }));
  },
  label(folder, { labels, source = '{text}', before = '类别：' }) {
    const task = parseTask(
      {
        name: 'label',
        kind: 'classification',
        columns: { text: 'text', label: 'label' },
        labels,
        prompt: { source, before, words: labels },
        metric: 'accuracy',
      },
      "pipeline('label', …)",
    );
    const { model, tokenizer } = forInference(folder);
    return (texts) =>
      predictZeroShot(
        model,
        tokenizer,
        task as PromptedTask,
        texts.map((text) => ({ text })),
      ).map(labelled(labels));
  },
  generate(folder, settings) {
    const { model, tokenizer } = forInference(folder);
    return async (prompts) =>
      (await generate(model, tokenizer, prompts, settings)).map(({ texts: [first] }) => first!.text);
  },
  embed(folder, options) {
    const { model, tokenizer } = forInference(folder);
    return (texts) => embed(model, tokenizer, texts, options);
  },
};

function labelled(labels: readonly string[]) {
  return ({ probabilities }: { probabilities: ArrayLike<number> }): Classification => {
    const sorted = labels
      .map((label, index) => ({ label, probability: probabilities[index]! }))
      .sort((a, b) => b.probability - a.probability);
    return { ...sorted[0]!, labels: sorted };
  };
}

/** Packed as it is stored, or in fp32. */
function forInference(path: string): { model: PlugModel; tokenizer: Tokenizer } {
  const folder = resolveModelFolder(path);
  const model = loadModel(folder, { precision: readStoredPrecision(folder) ?? 'float32' });
  return { model, tokenizer: loadTokenizer(folder) };
}

const tokensPerBatch = 4096;

function embed(
  model: PlugModel,
  tokenizer: Tokenizer,
  texts: readonly string[],
  { pooling = 'mean', normalize = true }: EmbeddingOptions,
): Float32Array[] {
  const window = model.config.maxPositionEmbeddings;
  const ids = texts.map((text) => encodeText(tokenizer, { text }, window).inputIds);
  const vectors = new Array<Float32Array>(texts.length);
  const width = model.config.hiddenSize;
  for (const indices of scoringBatches(
    ids.map(({ length }) => ({ source: length, target: 0 })),
    tokensPerBatch,
  )) {
    const rows = indices.map((index) => ids[index]!);
    const values = noGrad(() =>
      scope(() =>
        Float32Array.from(
          model
            .encode(textBatch(packTexts(rows)), model.inference)
            .to('float32')
            .toTypedArray() as Float32Array,
        ),
      ),
    );
    let at = 0;
    for (const [row, index] of indices.entries()) {
      const length = pooling === 'first' ? 1 : rows[row]!.length;
      vectors[index] = pooled(values.subarray(at * width, (at + length) * width), width, normalize);
      at += rows[row]!.length;
    }
  }
  return vectors;
}

/** The mean of rows [tokens, width]. */
function pooled(states: Float32Array, width: number, normalize: boolean): Float32Array {
  const sums = new Float64Array(width);
  for (const [at, value] of states.entries()) sums[at % width]! += value;
  const length = normalize ? Math.hypot(...sums) : states.length / width;
  return Float32Array.from(sums, (sum) => (length > 0 ? sum / length : 0));
}
