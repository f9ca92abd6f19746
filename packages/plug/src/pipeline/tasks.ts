// What pipelines take and give, by kind, and how each is computed. Runs where the model is: in the worker.
import { loadModel, readStoredPrecision, resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { loadChooser, loadClassifier, loadSpanReader } from '../finetune/index.js';
import { type GenerationSettings, generate } from '../generate/index.js';
import type { PlugModel } from '../model/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';
import { type EmbeddingOptions, embed } from './embed.js';
import { type Classification, type LabelOptions, labelled, labeller } from './label.js';

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
  label(folder, options) {
    const { model, tokenizer } = forInference(folder);
    return labeller(model, tokenizer, options);
  },
  generate(folder, settings) {
    const { model, tokenizer } = forInference(folder);
    return async (prompts) =>
      (await generate(model, tokenizer, prompts, settings)).map(({ texts: [first] }) => first!.text);
  },
  embed(folder, options) {
    const { model, tokenizer } = forInference(folder);
    return (texts) => [...embed(model, tokenizer, texts, options).vectors];
  },
};

/** Packed as it is stored, or in fp32. */
function forInference(path: string): { model: PlugModel; tokenizer: Tokenizer } {
  const folder = resolveModelFolder(path);
  const model = loadModel(folder, { precision: readStoredPrecision(folder) ?? 'float32' });
  return { model, tokenizer: loadTokenizer(folder) };
}
