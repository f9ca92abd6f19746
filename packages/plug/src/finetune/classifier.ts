// Classification of texts and pairs: the first token's final state → dropout → a linear layer.
import { noGrad, scope, type Tensor } from '@openplug/torch';
import { type ForwardOptions, inference } from '../model/index.js';
import { EncoderTask, loadEncoderTask, type TaskParts } from './encoder-task.js';
import { type EncodedText, encodeText } from './encoding.js';
import { scoringBatches } from './example-batches.js';
import type { ClassificationInput } from './examples.js';
import type { ClassificationTask } from './task.js';

/** How examples go through a model for scoring. */
export interface ScoringOptions {
  /** Default: fp32. */
  forward?: ForwardOptions;
  /** Tokens of a batch at most. Default 4096. It changes no result but the last bits. */
  tokensPerBatch?: number;
}

/** What a classifier says of one example. */
export interface Prediction {
  /** The most probable label (the first of equals). */
  label: string;
  /** Its index in the task's labels. */
  labelIndex: number;
  /** Probability of every label, in the task's order. */
  probabilities: Float64Array;
}

/** A fine-tuned encoder with its head, tokenizer and labels. */
export class PlugClassifier extends EncoderTask<ClassificationTask> {
  /** Takes ownership of the model. */
  constructor(parts: TaskParts<ClassificationTask>) {
    super(parts, parts.task.labels.length);
  }

  encode(example: ClassificationInput): EncodedText {
    return encodeText(this.tokenizer, example, this.maxLength);
  }

  /** Texts → logits [B, C]. */
  logits(texts: readonly EncodedText[], options: ForwardOptions): Tensor {
    return this.firstTokenOutputs(texts, options);
  }

  /** Labels and probabilities, in the order of the examples. */
  predict(examples: readonly ClassificationInput[], options: ScoringOptions = {}): Prediction[] {
    return this.predictEncoded(
      examples.map((example) => this.encode(example)),
      options,
    );
  }

  /** `predict` of texts that are ids already. */
  predictEncoded(
    texts: readonly EncodedText[],
    { forward = inference, tokensPerBatch = 4096 }: ScoringOptions = {},
  ): Prediction[] {
    const lengths = texts.map((text) => ({ source: text.inputIds.length, target: 0 }));
    const predictions = new Array<Prediction>(texts.length);
    const numLabels = this.task.labels.length;
    for (const indices of scoringBatches(lengths, tokensPerBatch)) {
      const values = noGrad(() =>
        scope(() => {
          const batch = indices.map((index) => texts[index]!);
          return this.logits(batch, forward).to('float64').softmax(-1).toArray();
        }),
      );
      for (const [row, index] of indices.entries()) {
        const probabilities = Float64Array.from(values.slice(row * numLabels, (row + 1) * numLabels));
        const labelIndex = probabilities.indexOf(Math.max(...probabilities));
        predictions[index] = { label: this.task.labels[labelIndex]!, labelIndex, probabilities };
      }
    }
    return predictions;
  }
}

/**
 * Loads what `save` wrote.
 * @param path model folder, or run folder
 * @throws ConfigError when the model is no classifier, CheckpointError when a file is damaged
 */
export function loadClassifier(path: string): PlugClassifier {
  return loadEncoderTask(path, 'classification', (parts) => new PlugClassifier(parts));
}
