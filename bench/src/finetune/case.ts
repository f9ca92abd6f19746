// What the sides of the fine-tuning benchmark are given.
import type { Precision } from '../decode/case.js';
import { keyedRandom } from '../openplug.js';
import { type Shape, special } from '../shapes.js';

export interface FinetuneCase {
  precision: Exclude<Precision, 'int8'>;
  /** [CLS] … [SEP] of each text, in batches of `batch` as they stand. */
  texts: number[][];
  /** One of three classes for each text. */
  labels: number[];
  batch: number;
  learningRate: number;
  weightDecay: number;
  clipGradNorm: number;
  /** Ours: width of adapters beside the frozen model; 0 trains all of it. */
  loraRank: number;
}

const classes = 3;

/** Texts of random tokens, 16 to 128 long as sentence pairs are, the class told by one of their tokens. */
export function labelledTexts(
  shape: Shape,
  count: number,
  seed: number,
): Pick<FinetuneCase, 'texts' | 'labels'> {
  const random = keyedRandom(seed, count, 1);
  const longest = Math.min(128, shape.config.maxPositionEmbeddings);
  const first = special.mask + 1 + classes;
  const labels: number[] = [];
  const texts = Array.from({ length: count }, () => {
    const inner = random.integer(16, longest) - 2;
    const text = Array.from({ length: inner }, () =>
      random.integer(first, shape.config.originalVocabSize - 1),
    );
    const label = random.integer(0, classes - 1);
    labels.push(label);
    text[random.integer(0, inner - 1)] = special.mask + 1 + label;
    return [special.cls, ...text, special.sep];
  });
  return { texts, labels };
}
