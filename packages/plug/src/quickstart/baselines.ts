// What the model is compared with: a 5-gram model for the language model, and majority and character bigrams for
// the tasks.
import { join } from 'node:path';
import { openTokenCorpus, type TokenCorpus } from '../corpus/index.js';
import {
  type Accuracy,
  accuracy,
  bitsPerToken,
  majorityAccuracy,
  trainBigramClassifier,
  trainKneserNey,
} from '../evaluate/index.js';
import type { Stage2Sample } from '../pretrain/samples/index.js';
import type { TaskData } from './tasks.js';

/** Order of the n-gram model. */
export const ngramOrder = 5;

/**
 * Held-out bits per character of an interpolated modified Kneser–Ney model that is trained on the same documents
 * and scored on the same characters, each after all that precedes it in source and target.
 */
export function ngramBitsPerCharacter(
  corpusFolder: string,
  vocabSize: number,
  samples: readonly Stage2Sample[],
): number {
  using corpus = closing(openTokenCorpus(join(corpusFolder, 'train')));
  const documents = function* () {
    for (let index = 0; index < corpus.opened.numDocuments; index++)
      yield corpus.opened.document(index).tokens;
  };
  const model = trainKneserNey(documents(), { order: ngramOrder, vocabSize });
  return bitsPerToken(
    model,
    samples.map(({ sourceIds, targetIds }) => ({
      context: sourceIds.subarray(1, -1), // without [CLS] and [SEP]
      target: targetIds.subarray(0, -1), // the end is no character
    })),
  );
}

/** Accuracies of the two plain baselines on a task's test examples. */
export interface TaskBaselines {
  majority: Accuracy;
  bigram: Accuracy;
}

/**
 * Majority class and bigram classifier on "does this line follow", and the same two on the choice of a lower line:
 * the most frequent answer, and the candidate to which the classifier gives the highest probability of following.
 * Predictions of the classifier are kept for paired comparisons.
 */
export function taskBaselines({ follows, choices }: TaskData): {
  follows: TaskBaselines & { predictions: number[] };
  lowerLine: TaskBaselines;
} {
  const test = follows.test!;
  const labels = test.map(({ label }) => label);
  const classifier = trainBigramClassifier(follows.train, { numLabels: 2, dev: follows.dev ?? [] });
  const predictions = test.map((example) => classifier.predict(example));
  const answers = choices.map(({ answer }) => answer);
  const chosen = choices.map(({ source, candidates }) => {
    const scores = candidates.map(
      (candidate) => classifier.probabilities({ text: source, textPair: candidate })[0]!,
    );
    return scores.indexOf(Math.max(...scores));
  });
  return {
    follows: {
      majority: majorityAccuracy(
        follows.train.map(({ label }) => label),
        labels,
      ),
      bigram: accuracy(predictions, labels),
      predictions,
    },
    lowerLine: { majority: majorityAccuracy(answers, answers), bigram: accuracy(chosen, answers) },
  };
}

function closing(opened: TokenCorpus) {
  return { opened, [Symbol.dispose]: () => opened.close() };
}
