// Classification and choice without a head: the decoder says how probable each label's words are after the text.

import { ConfigError } from '../errors.js';
import { type PlugModel, promptIds } from '../model/index.js';
import type { Tokenizer } from '../text/index.js';
import { type ScoredSource, scoreContinuations } from './candidates.js';
import type { ScoringOptions } from './classifier.js';
import type { ChoiceInput, ClassificationInput, GenerationExample } from './examples.js';
import type { ChoiceTask, ClassificationTask } from './task.js';

/** Tasks that words can be scored for. */
export type PromptedTask = ClassificationTask | ChoiceTask;

/** An example in words. */
export interface Verbalized {
  source: string;
  /** What stands before every candidate. */
  before: string;
  candidates: readonly string[];
}

export interface ZeroShotOptions extends ScoringOptions {
  /**
   * Divide by how probable the words are after no text at all, so that words which are frequent anyway are not
   * preferred (contextual calibration: Zhao et al. 2021, arXiv 2102.09690). Default true.
   */
  calibrate?: boolean;
}

/** Index of the chosen candidate, and the softmax of all scores. */
export interface ZeroShotPrediction {
  choice: number;
  probabilities: number[];
}

/** @throws ConfigError when the task has no words for its labels */
export function verbalize(task: PromptedTask, input: ClassificationInput | ChoiceInput): Verbalized {
  if (task.kind === 'choice') {
    const { text, candidates } = input as ChoiceInput;
    const at = task.place === undefined ? -1 : text.indexOf(task.place);
    // What follows the place is judged too: a candidate has to fit on both sides.
    if (at < 0) return { source: text, before: '', candidates };
    const after = text.slice(at + task.place!.length);
    return {
      source: text.slice(0, at) || '，',
      before: '',
      candidates: candidates.map((each) => each + after),
    };
  }
  if (!task.prompt)
    throw new ConfigError(
      `The task ${task.name} has no words for its labels: add "prompt": {"source": "{text}", "words": […]} to its file.`,
    );
  const { text, textPair = '' } = input as ClassificationInput;
  const { source, before = '', words } = task.prompt;
  return {
    source: source.replace('{text}', () => text).replace('{textPair}', () => textPair),
    before,
    candidates: words,
  };
}

/** The example as source and target, to train with. */
export function verbalizedTarget(
  task: PromptedTask,
  input: ClassificationInput | ChoiceInput,
  answer: number,
): GenerationExample {
  const { source, before, candidates } = verbalize(task, input);
  return { source, target: before + candidates[answer]! };
}

/** Source and continuations of one call. */
const rowsPerBatch = 512;
/** Tokens that are judged of what follows a place. */
const maxContinuation = 48;
/** In the place of a text when there is none. */
const noText = '无';

/** Predictions in the order of the inputs. */
export function predictZeroShot(
  model: PlugModel,
  tokenizer: Tokenizer,
  task: PromptedTask,
  inputs: readonly (ClassificationInput | ChoiceInput)[],
  options: ZeroShotOptions = {},
): ZeroShotPrediction[] {
  return zeroShotPredictor(model, tokenizer, task, options)(inputs);
}

/** Ready to predict, in as many calls as one likes: labels are calibrated once. */
export function zeroShotPredictor(
  model: PlugModel,
  tokenizer: Tokenizer,
  task: PromptedTask,
  options: ZeroShotOptions = {},
): (inputs: readonly (ClassificationInput | ChoiceInput)[]) => ZeroShotPrediction[] {
  // Labels are the same for all inputs; candidates of choices are not.
  const predict = promptPredictor(model, tokenizer, task.kind === 'classification', options);
  return (inputs) =>
    predict(
      inputs.map((input) => {
        const { source, ...words } = verbalize(task, input);
        return { ...words, source: tokenizer.encode(source, { splitSpecialTokens: true }) };
      }),
    );
}

/** An example in words whose source is ids already, without [CLS] and [SEP]. */
export interface EncodedPrompt extends Omit<Verbalized, 'source'> {
  source: Int32Array;
}

/** Tokens of the end of a source that the encoder reads: what is written after it is nearest to them. */
export function sourceWindow({ config }: PlugModel): number {
  return config.maxPositionEmbeddings - 2 - promptIds(config).length;
}

/** @param sameCandidates whether all prompts have the same words to choose from, which are calibrated once then */
export function promptPredictor(
  model: PlugModel,
  tokenizer: Tokenizer,
  sameCandidates: boolean,
  { forward = model.inference, calibrate = true }: ZeroShotOptions = {},
): (prompts: readonly EncodedPrompt[]) => ZeroShotPrediction[] {
  const encode = (text: string): Int32Array => tokenizer.encode(text, { splitSpecialTokens: true });
  const { cls, sep } = tokenizer.special;
  const vectors = promptIds(model.config);
  const scored = ({ source, before, candidates }: EncodedPrompt): ScoredSource => ({
    sourceIds: [cls, ...vectors, ...source.subarray(Math.max(0, source.length - sourceWindow(model))), sep],
    before: [...encode(before)],
    continuations: candidates.map((candidate) => [...encode(candidate)].slice(0, maxContinuation)),
  });
  const total = (prompts: readonly EncodedPrompt[]): number[][] =>
    batched(prompts.map(scored)).flatMap((batch) => scoreContinuations(model, tokenizer, batch, forward));
  const withoutText = (prompts: readonly EncodedPrompt[]): number[][] =>
    total(prompts.map((prompt) => ({ ...prompt, source: encode(noText) })));
  let ofAll: number[] | undefined;
  return (prompts) => {
    const scores = total(prompts);
    if (calibrate && prompts.length > 0) {
      if (sameCandidates) ofAll ??= withoutText(prompts.slice(0, 1))[0]!;
      const plain = ofAll ? prompts.map(() => ofAll!) : withoutText(prompts);
      for (const [index, row] of scores.entries())
        for (const at of row.keys()) row[at]! -= plain[index]![at]!;
    }
    return scores.map((row) => {
      const largest = Math.max(...row);
      const weights = row.map((score) => Math.exp(score - largest));
      const sum = weights.reduce((a, b) => a + b, 0);
      return { choice: row.indexOf(largest), probabilities: weights.map((weight) => weight / sum) };
    });
  };
}

function batched(sources: readonly ScoredSource[]): ScoredSource[][] {
  const batches: ScoredSource[][] = [];
  let rows = Number.POSITIVE_INFINITY;
  for (const source of sources) {
    rows += source.continuations.length;
    if (rows > rowsPerBatch) {
      batches.push([]);
      rows = source.continuations.length;
    }
    batches.at(-1)!.push(source);
  }
  return batches;
}
