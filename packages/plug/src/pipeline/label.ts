// Labels for texts without fine-tuning: by how probable the decoder finds the labels' words after a text.
import { type PromptedTask, parseTask, zeroShotPredictor } from '../finetune/index.js';
import type { PlugModel } from '../model/index.js';
import type { Tokenizer } from '../text/index.js';

/** A label with its probability, and those of all labels, the most probable first. */
export interface Classification {
  label: string;
  probability: number;
  labels: { label: string; probability: number }[];
}

export interface LabelOptions {
  /** Words or phrases to choose from. */
  labels: readonly string[];
  /** What the encoder reads, `{text}` standing for the text. Default `{text}`. */
  source?: string;
  /** What stands in front of the label in the decoder. Default `类别：`. */
  before?: string;
}

/**
 * Ready to label texts.
 * @throws ConfigError for labels that cannot be told apart
 */
export function labeller(
  model: PlugModel,
  tokenizer: Tokenizer,
  options: LabelOptions,
): (texts: readonly string[]) => Classification[] {
  const task = labelTask(options);
  const predict = zeroShotPredictor(model, tokenizer, task);
  return (texts) => predict(texts.map((text) => ({ text }))).map(labelled(options.labels));
}

/** The task that such labels make. @throws ConfigError for labels that cannot be told apart */
export function labelTask({ labels, source = '{text}', before = '类别：' }: LabelOptions): PromptedTask {
  return parseTask(
    {
      name: 'label',
      kind: 'classification',
      columns: { text: 'text', label: 'label' },
      labels,
      prompt: { source, before, words: labels },
      metric: 'accuracy',
    },
    "pipeline('label', …)",
  ) as PromptedTask;
}

/** From the probabilities of all labels, in their order. */
export function labelled(labels: readonly string[]) {
  return ({ probabilities }: { probabilities: ArrayLike<number> }): Classification => {
    const sorted = labels
      .map((label, index) => ({ label, probability: probabilities[index]! }))
      .sort((a, b) => b.probability - a.probability);
    return { ...sorted[0]!, labels: sorted };
  };
}
