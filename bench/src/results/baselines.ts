// What any system has to beat: always the most frequent answer, and a linear model of character uni- and bigrams.
import {
  accuracy,
  type ClassifierExample,
  majorityAccuracy,
  type TaskExample,
  trainBigramClassifier,
} from '../openplug.js';
import type { ResultTask } from './tasks.js';

/** Accuracy on test. */
export function majority({ train, test }: ResultTask): number {
  return majorityAccuracy(train.map(answerOf), test.map(answerOf)).accuracy;
}

/** Accuracy on test; of choices, the candidate that is most probably right beside its text. */
export function linear({ task, train, dev, test }: ResultTask): number {
  if (task.kind === 'classification') {
    const numLabels = task.labels.length;
    const of = (examples: readonly TaskExample[]) => examples as unknown as ClassifierExample[];
    return trainBigramClassifier(of(train), { numLabels, dev: of(dev) }).accuracy(of(test));
  }
  const classifier = trainBigramClassifier(train.flatMap(candidatePairs), {
    numLabels: 2,
    dev: dev.flatMap(candidatePairs),
  });
  const choices = test.map((example) => {
    const scores = candidatePairs(example).map((pair) => classifier.probabilities(pair)[1]!);
    return scores.indexOf(Math.max(...scores));
  });
  return accuracy(choices, test.map(answerOf)).accuracy;
}

/** The label of a classification, or the index of the right candidate. */
export function answerOf(example: TaskExample): number {
  if ('label' in example) return example.label;
  if ('candidates' in example) return example.answer;
  throw new TypeError('Only classification and choice are in the table.');
}

function candidatePairs(example: TaskExample): ClassifierExample[] {
  if (!('candidates' in example)) return [];
  return example.candidates.map((candidate, index) => ({
    text: example.text,
    textPair: candidate,
    label: index === example.answer ? 1 : 0,
  }));
}
