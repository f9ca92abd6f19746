// Choice among candidates: each is read with the text, the first token's final state gives it one score, and a softmax
// over an example's scores its probability (as BERT does SWAG, Devlin et al. 2019, section 4.4).
import { noGrad, scope, type Tensor } from '@openplug/torch';
import { type ForwardOptions, inference } from '../model/index.js';
import type { ScoringOptions } from './classifier.js';
import { EncoderTask, loadEncoderTask, paddedRows, type TaskParts } from './encoder-task.js';
import { type EncodedText, encodeText } from './encoding.js';
import { scoringBatches } from './example-batches.js';
import type { ChoiceInput } from './examples.js';
import type { ChoiceTask } from './task.js';

/** What a chooser says of one example. */
export interface ChoicePrediction {
  /** The most probable candidate (the first of equals). */
  candidate: string;
  /** Its index. */
  choice: number;
  /** Probability of each candidate. */
  probabilities: Float64Array;
}

/** A fine-tuned encoder that scores candidates. */
export class PlugChooser extends EncoderTask<ChoiceTask> {
  /** Takes ownership of the model. */
  constructor(parts: TaskParts<ChoiceTask>) {
    super(parts, 1);
  }

  /** One text for each candidate. */
  encode({ text, candidates }: ChoiceInput): EncodedText[] {
    const { place } = this.task;
    return candidates.map((candidate) => {
      if (place === undefined)
        return encodeText(this.tokenizer, { text, textPair: candidate }, this.maxLength);
      return encodeText(
        this.tokenizer,
        { text: aroundPlace(text, place, candidate, this.maxLength) },
        this.maxLength,
      );
    });
  }

  /** Texts of the candidates of each example → logits [B, most candidates]; those that an example lacks are impossible. */
  logits(examples: readonly (readonly EncodedText[])[], options: ForwardOptions): Tensor {
    const scores = this.firstTokenOutputs(examples.flat(), options);
    return paddedRows(
      scores.reshape(-1),
      examples.map((texts) => texts.length),
    );
  }

  /** Choices and probabilities, in the order of the examples. */
  predict(
    examples: readonly ChoiceInput[],
    { forward = inference, tokensPerBatch = 4096 }: ScoringOptions = {},
  ): ChoicePrediction[] {
    const texts = examples.map((example) => this.encode(example));
    const predictions = new Array<ChoicePrediction>(examples.length);
    for (const indices of scoringBatches(texts.map(lengthOfAll), tokensPerBatch)) {
      const batch = indices.map((index) => texts[index]!);
      const values = noGrad(() =>
        scope(() => this.logits(batch, forward).to('float64').softmax(-1).toArray()),
      );
      const width = values.length / indices.length;
      for (const [row, index] of indices.entries()) {
        const { candidates } = examples[index]!;
        const probabilities = Float64Array.from(values.slice(row * width, row * width + candidates.length));
        const choice = probabilities.indexOf(Math.max(...probabilities));
        predictions[index] = { candidate: candidates[choice]!, choice, probabilities };
      }
    }
    return predictions;
  }
}

/** What batching needs to know of texts that go through the encoder together. */
export function lengthOfAll(texts: readonly EncodedText[]): { source: number; target: number } {
  return { source: texts.reduce((sum, { inputIds }) => sum + inputIds.length, 0), target: 0 };
}

/**
 * The text with the candidate in its place; of a long text the part around it, so that cutting at the end never takes
 * the candidate away.
 */
function aroundPlace(text: string, place: string, candidate: string, maxLength: number): string {
  const at = text.indexOf(place);
  if (at < 0) return `${candidate}${text}`;
  // A character is a token or less, so this keeps all that there is room for.
  const before = text.slice(Math.max(0, at - Math.floor(maxLength / 2)), at);
  return `${before}${candidate}${text.slice(at + place.length)}`;
}

/**
 * Loads what `save` wrote.
 * @param path model folder, or run folder
 * @throws ConfigError when the model was not made to choose, CheckpointError when a file is damaged
 */
export function loadChooser(path: string): PlugChooser {
  return loadEncoderTask(path, 'choice', (parts) => new PlugChooser(parts));
}
