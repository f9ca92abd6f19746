// Fine-tuning as training objectives: shuffled batches of examples in, losses and dev scores out.
import { nn } from '@openplug/torch';
import { type ForwardOptions, indexTensor, lmLoss, textBatch } from '../model/index.js';
import { type BatchPosition, packStage2, type SampleLength } from '../pretrain/samples/index.js';
import type { StepLosses, TrainingObjective } from '../train/index.js';
import { lengthOfAll, type PlugChooser } from './chooser.js';
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

/** An objective over examples, with what planning a run needs to know of them. */
export interface ExampleObjective extends Omit<TrainingObjective, 'isDone'> {
  /** Lengths of the training examples in tokens. */
  readonly lengths: readonly SampleLength[];
  /** Training examples of which text was cut off. */
  readonly truncated: number;
}

/** Cross-entropy of the labels. */
export function classificationObjective(
  classifier: PlugClassifier,
  { train, dev = [] }: FinetuneData<ClassificationExample>,
  settings: ExampleBatchSettings,
): ExampleObjective {
  const texts = train.map((example) => classifier.encode(example));
  const lengths = texts.map((text) => ({ source: text.inputIds.length, target: 0 }));
  return objectiveOf(lengths, settings, {
    truncated: texts.filter((text) => text.truncated).length,
    losses(indices, options) {
      const batch = indices.map((index) => texts[index]!);
      const labels = indexTensor(indices.map((index) => train[index]!.label));
      return {
        loss: nn.crossEntropy(classifier.logits(batch, options), labels),
        parts: {},
        numTokens: batch.reduce((sum, text) => sum + text.inputIds.length, 0),
      };
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
