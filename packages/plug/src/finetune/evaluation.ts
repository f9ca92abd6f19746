// Scores of fine-tuned models, each with its standard error.
import { ConfigError } from '../errors.js';
import {
  type Accuracy,
  accuracy,
  bitsPerCharacter,
  type Interval,
  macroF1,
  meanInterval,
  perplexity,
  type SpanAccuracy,
  spanAccuracy,
  spanScores,
} from '../evaluate/index.js';
import type { ChoicePrediction, PlugChooser } from './chooser.js';
import type { PlugClassifier, ScoringOptions } from './classifier.js';
import type { ChoiceExample, ClassificationExample, GenerationExample, SpanExample } from './examples.js';
import type { PlugGenerator, TargetScore } from './generator.js';
import type { PlugSpanReader, SpanPrediction } from './span-reader.js';

/** Scores of a classifier. */
export interface ClassifierScores extends Accuracy {
  /** Of accuracy, 95 %, by bootstrap. */
  interval: Interval;
  macroF1: number;
  /** Mean −ln p of the right labels. */
  loss: number;
  /** Examples by right label (row) and predicted label (column). */
  confusion: number[][];
  /** Examples of which text was cut off. */
  truncated: number;
}

/** Scores, and what they were made of (for paired comparisons). */
export interface ClassifierEvaluation {
  scores: ClassifierScores;
  /** Label index for each example. */
  predictions: Int32Array;
  /** Of the predicted labels. */
  probabilities: Float64Array;
}

/** @throws ConfigError without examples */
export function evaluateClassifier(
  classifier: PlugClassifier,
  examples: readonly ClassificationExample[],
  options: ScoringOptions = {},
): ClassifierEvaluation {
  const predicted = classifier.predict(examples, options);
  const predictions = Int32Array.from(predicted, ({ labelIndex }) => labelIndex);
  const labels = Int32Array.from(examples, ({ label }) => label);
  const share = accuracy(predictions, labels);
  const confusion = classifier.task.labels.map(() =>
    new Array<number>(classifier.task.labels.length).fill(0),
  );
  let nats = 0;
  for (const [index, label] of labels.entries()) {
    nats -= Math.log(predicted[index]!.probabilities[label]!);
    confusion[label]![predictions[index]!]!++;
  }
  const truncated = examples.filter((example) => classifier.encode(example).truncated).length;
  return {
    scores: {
      ...share,
      interval: meanInterval(labels.map((label, index) => (label === predictions[index] ? 1 : 0))),
      macroF1: macroF1(predictions, labels),
      loss: nats / labels.length,
      confusion,
      truncated,
    },
    predictions,
    probabilities: Float64Array.from(predicted, (each) => each.probabilities[each.labelIndex]!),
  };
}

/** Scores of a model that chooses among candidates. */
export interface ChooserScores extends Accuracy {
  /** Of accuracy, 95 %, by bootstrap. */
  interval: Interval;
  /** Mean −ln p of the right candidates. */
  loss: number;
  /** Examples of which text was cut off. */
  truncated: number;
}

/** Scores, and what they were made of. */
export interface ChooserEvaluation {
  scores: ChooserScores;
  predictions: ChoicePrediction[];
}

/** @throws ConfigError without examples */
export function evaluateChooser(
  chooser: PlugChooser,
  examples: readonly ChoiceExample[],
  options: ScoringOptions = {},
): ChooserEvaluation {
  const predictions = chooser.predict(examples, options);
  const share = accuracy(
    predictions.map(({ choice }) => choice),
    examples.map(({ answer }) => answer),
  );
  const nats = examples.reduce(
    (sum, { answer }, index) => sum - Math.log(predictions[index]!.probabilities[answer]!),
    0,
  );
  const truncated = examples.filter((example) =>
    chooser.encode(example).some((text) => text.truncated),
  ).length;
  const interval = meanInterval(
    examples.map(({ answer }, index) => (answer === predictions[index]!.choice ? 1 : 0)),
  );
  return { scores: { ...share, interval, loss: nats / examples.length, truncated }, predictions };
}

/** Scores of a model that finds answers in texts. */
export interface SpanScores extends SpanAccuracy {
  /** Of f1. */
  standardError: number;
  /** Of f1, 95 %, by bootstrap. */
  interval: Interval;
  numExamples: number;
  /** Examples of which the question was cut off. */
  truncated: number;
}

/** Scores, and what they were made of. */
export interface SpanEvaluation {
  scores: SpanScores;
  predictions: SpanPrediction[];
}

/** @throws ConfigError without examples */
export function evaluateSpanReader(
  reader: PlugSpanReader,
  examples: readonly SpanExample[],
  options: ScoringOptions = {},
): SpanEvaluation {
  const predictions = reader.predict(examples, options);
  const pairs = examples.map(({ answers }, index) => ({ prediction: predictions[index]!.answer, answers }));
  const scores = spanAccuracy(pairs);
  const n = pairs.length;
  const each = pairs.map((pair) => spanScores(pair).f1);
  const squares = each.reduce((sum, f1) => sum + (f1 - scores.f1) ** 2, 0);
  const truncated = examples.filter((example) => reader.encode(example).windows[0]!.truncated).length;
  return {
    scores: {
      ...scores,
      standardError: n > 1 ? Math.sqrt(squares / (n - 1) / n) : Number.NaN,
      interval: meanInterval(each),
      numExamples: n,
      truncated,
    },
    predictions,
  };
}

/** Scores of a source → target model. */
export interface GenerationScores {
  /** −log2 p of the targets' text given the sources, over all its characters. */
  bitsPerCharacter: number;
  /** Of bitsPerCharacter, a ratio of sums over examples (linearised). */
  standardError: number;
  /** By token, the end token included. */
  perplexity: number;
  /** Mean −ln p by token, the end token included. */
  loss: number;
  numExamples: number;
  /** Characters and tokens scored. */
  characters: number;
  tokens: number;
  /** Examples whose source or target was cut off; what was cut is not scored. */
  truncated: number;
}

export interface GenerationEvaluation {
  scores: GenerationScores;
  /** By example, for paired comparisons. */
  targets: TargetScore[];
}

/** @throws ConfigError without examples */
export function evaluateGeneration(
  generator: PlugGenerator,
  examples: readonly GenerationExample[],
  options: ScoringOptions = {},
): GenerationEvaluation {
  if (examples.length === 0) throw new ConfigError('Evaluation needs at least one example, got none.');
  const targets = generator.score(examples, options);
  const sum = (of: (score: TargetScore) => number): number =>
    targets.reduce((total, score) => total + of(score), 0);
  const [nats, tokens, characters] = [sum((s) => s.nats), sum((s) => s.tokens), sum((s) => s.characters)];
  const bits = bitsPerCharacter(
    sum((s) => s.textNats),
    characters,
  );
  const n = targets.length;
  const residuals = sum((s) => (s.textNats / Math.LN2 - bits * s.characters) ** 2);
  return {
    scores: {
      bitsPerCharacter: bits,
      standardError: n > 1 ? Math.sqrt((residuals * n) / (n - 1)) / characters : Number.NaN,
      perplexity: perplexity(nats, tokens),
      loss: nats / tokens,
      numExamples: n,
      characters,
      tokens,
      truncated: targets.filter((score) => score.truncated).length,
    },
    targets,
  };
}

/** A source with several possible targets, one of which is right. */
export interface TargetChoice {
  source: string;
  candidates: readonly string[];
  /** Index of the right candidate. */
  answer: number;
}

export interface TargetChoiceEvaluation {
  scores: Accuracy;
  /** Chosen candidate for each example. */
  choices: Int32Array;
}

/**
 * Picks for each example the candidate with the highest total log-probability under the decoder, its end included.
 * @throws ConfigError for an example without candidates or with an answer that is none of them
 */
export function choose(
  generator: PlugGenerator,
  examples: readonly TargetChoice[],
  options: ScoringOptions = {},
): TargetChoiceEvaluation {
  for (const [index, { candidates, answer }] of examples.entries())
    if (candidates[answer] === undefined)
      throw new ConfigError(
        `Choice example ${index}: answer ${answer} is none of its ${candidates.length} candidates.`,
      );
  const pairs = examples.flatMap(({ source, candidates }) =>
    candidates.map((target) => ({ source, target })),
  );
  const scores = generator.score(pairs, options);
  let at = 0;
  const choices = Int32Array.from(examples, ({ candidates }) => {
    const nats = scores.slice(at, at + candidates.length).map((score) => score.nats);
    at += candidates.length;
    return nats.indexOf(Math.min(...nats));
  });
  const answers = Int32Array.from(examples, ({ answer }) => answer);
  return { scores: accuracy(choices, answers), choices };
}
