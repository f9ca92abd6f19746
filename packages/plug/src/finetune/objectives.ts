// Fine-tuning as training objectives: shuffled batches of examples in, losses and dev scores out.
import { nn, type Tensor } from '@openplug/torch';
import { type ForwardOptions, indexTensor, lmLoss, textBatch } from '../model/index.js';
import { type BatchPosition, packStage2, type SampleLength } from '../pretrain/samples/index.js';
import type { StepLosses, TrainingObjective } from '../train/index.js';
import { lengthOfAll, type PlugChooser } from './chooser.js';
import {
  type ClassificationLossOptions,
  smoothedCrossEntropy,
  symmetricDivergence,
} from './classification-loss.js';
import type { PlugClassifier } from './classifier.js';
import { evaluateChooser, evaluateClassifier, evaluateGeneration, evaluateSpanReader } from './evaluation.js';
import { type ExampleBatchSettings, exampleStream } from './example-batches.js';
import type {
  ChoiceExample,
  ClassificationExample,
  FinetuneData,
  GenerationExample,
  SpanExample,
} from './examples.js';
import { type PlugGenerator, targetLengths } from './generator.js';
import type { PlugSpanReader } from './span-reader.js';

/** How batches are made, and what is added to the loss. */
export type ObjectiveSettings = ExampleBatchSettings & Partial<ClassificationLossOptions>;

/** An objective over examples, with what planning a run needs to know of them. */
export interface ExampleObjective extends Omit<TrainingObjective, 'isDone'> {
  /** Lengths of the training examples in tokens. */
  readonly lengths: readonly SampleLength[];
  /** Training examples of which text was cut off. */
  readonly truncated: number;
}

/** Cross-entropy of the labels, with what `settings` add to it. */
export function classificationObjective(
  classifier: PlugClassifier,
  { train, dev = [] }: FinetuneData<ClassificationExample>,
  settings: ObjectiveSettings,
): ExampleObjective {
  const { labelSmoothing = 0, rDrop = 0 } = settings;
  const texts = train.map((example) => classifier.encode(example));
  const lengths = texts.map((text) => ({ source: text.inputIds.length, target: 0 }));
  return objectiveOf(lengths, settings, {
    truncated: texts.filter((text) => text.truncated).length,
    losses(indices, options): StepLosses {
      const once = indices.map((index) => texts[index]!);
      // Dropout differs by place in the batch, so two copies of it are two passes.
      const batch = rDrop > 0 ? [...once, ...once] : once;
      const numTokens = batch.reduce((sum, text) => sum + text.inputIds.length, 0);
      const rows = indices.map((index) => train[index]!.label);
      const labels = indexTensor(rDrop > 0 ? [...rows, ...rows] : rows);
      const logits = classifier.logits(batch, options);
      const loss = smoothedCrossEntropy(logits, labels, labelSmoothing);
      if (rDrop === 0) return { loss, parts: {}, numTokens };
      const [first, second] = logits.split(rows.length, 0) as [Tensor, Tensor];
      const divergence = symmetricDivergence(first, second);
      return { loss: loss.add(divergence.mul(rDrop)), parts: { divergence }, numTokens };
    },
    evaluate(forward): Record<string, number> {
      if (dev.length === 0) return {};
      const { tokensPerBatch } = settings;
      const { scores } = evaluateClassifier(classifier, dev, { forward, tokensPerBatch });
      const { accuracy, macroF1, loss } = scores;
      return { accuracy, macroF1, loss };
    },
  });
}

/** Cross-entropy of the right candidates. */
export function choiceObjective(
  chooser: PlugChooser,
  { train, dev = [] }: FinetuneData<ChoiceExample>,
  settings: ExampleBatchSettings,
): ExampleObjective {
  const examples = train.map((example) => chooser.encode(example));
  return objectiveOf(examples.map(lengthOfAll), settings, {
    truncated: examples.filter((texts) => texts.some((text) => text.truncated)).length,
    losses(indices, options) {
      const batch = indices.map((index) => examples[index]!);
      const answers = indexTensor(indices.map((index) => train[index]!.answer));
      return {
        loss: nn.crossEntropy(chooser.logits(batch, options), answers),
        parts: {},
        numTokens: batch.reduce((sum, texts) => sum + lengthOfAll(texts).source, 0),
      };
    },
    evaluate(forward): Record<string, number> {
      if (dev.length === 0) return {};
      const { tokensPerBatch } = settings;
      const { scores } = evaluateChooser(chooser, dev, { forward, tokensPerBatch });
      return { accuracy: scores.accuracy, loss: scores.loss };
    },
  });
}

/** Mean of the cross-entropies of the answer's first and last token, over all windows of its text. */
export function spanObjective(
  reader: PlugSpanReader,
  { train, dev = [] }: FinetuneData<SpanExample>,
  settings: ExampleBatchSettings,
): ExampleObjective {
  const questions = train.map((example) => reader.encode(example));
  return objectiveOf(
    questions.map(({ windows }) => lengthOfAll(windows)),
    settings,
    {
      truncated: questions.filter(({ windows }) => windows[0]!.truncated).length,
      losses(indices, options) {
        const windows = indices.flatMap((index) => questions[index]!.windows);
        const labels = indices.flatMap((index) => {
          const question = questions[index]!;
          return question.windows.map((window) => reader.labels(train[index]!, question, window));
        });
        const { start, end } = reader.logits(windows, options);
        const first = nn.crossEntropy(start, indexTensor(labels.map(([column]) => column)));
        const last = nn.crossEntropy(end, indexTensor(labels.map(([, column]) => column)));
        return { loss: first.add(last).div(2), parts: {}, numTokens: lengthOfAll(windows).source };
      },
      evaluate(forward): Record<string, number> {
        if (dev.length === 0) return {};
        const { tokensPerBatch } = settings;
        const { scores } = evaluateSpanReader(reader, dev, { forward, tokensPerBatch });
        return { f1: scores.f1, exactMatch: scores.exactMatch };
      },
    },
  );
}

/** LM loss of the targets. */
export function generationObjective(
  generator: PlugGenerator,
  { train, dev = [] }: FinetuneData<GenerationExample>,
  settings: ExampleBatchSettings,
): ExampleObjective {
  const { model } = generator;
  const samples = train.map((example) => generator.encode(example));
  return objectiveOf(samples.map(targetLengths), settings, {
    truncated: samples.filter((sample) => sample.truncated).length,
    losses(indices, options) {
      const batch = packStage2(indices.map((index) => samples[index]!));
      const source = textBatch(batch.source);
      const encoded = model.encode(source, options);
      const decoded = model.decode(textBatch(batch.target), encoded, source.layout, options);
      return {
        loss: lmLoss(model, decoded, indexTensor(batch.targetLabels), options),
        parts: {},
        numTokens: batch.source.ids.length + batch.target.ids.length,
      };
    },
    evaluate(forward): Record<string, number> {
      if (dev.length === 0) return {};
      const { tokensPerBatch } = settings;
      const { scores } = evaluateGeneration(generator, dev, { forward, tokensPerBatch });
      return { loss: scores.loss, perplexity: scores.perplexity, bitsPerCharacter: scores.bitsPerCharacter };
    },
  });
}

function objectiveOf(
  lengths: readonly SampleLength[],
  settings: ExampleBatchSettings,
  own: {
    truncated: number;
    losses(indices: readonly number[], options: ForwardOptions): StepLosses;
    evaluate(options: ForwardOptions): Record<string, number>;
  },
): ExampleObjective {
  const stream = exampleStream(lengths, settings);
  return {
    lengths,
    truncated: own.truncated,
    nextLosses: (_, options) => own.losses(stream.nextBatch(), options),
    position: () => ({ ...stream.position }),
    seek: (position) => stream.seek(position as unknown as BatchPosition),
    evaluate: own.evaluate,
  };
}
