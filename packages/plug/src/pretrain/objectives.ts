// The two stages as training objectives: batches of samples in, losses and held-out scores out.
import {
  type ForwardOptions,
  indexTensor,
  lmLoss,
  mlmLoss,
  type PlugModel,
  sentenceLoss,
  textBatch,
} from '../model/index.js';
import type { StepLosses, TrainingObjective } from '../train/index.js';
import { stage1Scores, stage2Scores } from './held-out.js';
import {
  type BatchPosition,
  type BatchStream,
  batchStream,
  packStage1,
  packStage2,
  regularStage1,
  regularStage2,
  type Stage1Batch,
  type Stage1Sampler,
  type Stage2Batch,
  type Stage2Sampler,
} from './samples/index.js';

/** How batches are made, for both stages. */
export interface ObjectiveSettings {
  seed: number;
  /** Tokens (source + target) in a micro-batch at most. */
  tokensPerBatch: number;
  /** Held-out batches that an evaluation reads. */
  evaluationBatches: number;
}

/** Stage 1: masked LM and word structure through one head, and sentence structure. */
export function stage1Objective(
  model: PlugModel,
  sampler: Stage1Sampler,
  heldOut: Stage1Sampler | undefined,
  settings: ObjectiveSettings,
): TrainingObjective {
  const stream = batchStream(sampler, settings);
  const evaluationSet = lazily(() => heldOutBatches(heldOut, settings, stage1Batch));
  return {
    ...positions(stream),
    nextLosses: (_, options) =>
      stage1Losses(model, regularStage1(stage1Batch(sampler, stream.nextBatch())), options),
    evaluate: (options) => stage1Scores(model, evaluationSet(), options),
  };
}

/**
 * Stage 2: LM loss on the continuation and, up to `mlmUntilStep`, masked LM on the source.
 * @param charactersOf characters that a token stands for, for bits per character
 */
export function stage2Objective(
  model: PlugModel,
  sampler: Stage2Sampler,
  heldOut: Stage2Sampler | undefined,
  settings: ObjectiveSettings & { mlmUntilStep: number },
  charactersOf: (id: number) => number,
): TrainingObjective {
  const stream = batchStream(sampler, settings);
  // The LM is scored on unmasked sources, as it is used; the masked LM on masked ones.
  const whole = lazily(() =>
    heldOutBatches(heldOut, settings, (source, indices) => stage2Batch(source, indices, false)),
  );
  const masked = lazily(() =>
    heldOutBatches(heldOut, settings, (source, indices) => stage2Batch(source, indices, true)),
  );
  return {
    ...positions(stream),
    nextLosses(step, options) {
      const withMlm = step <= settings.mlmUntilStep;
      return stage2Losses(
        model,
        regularStage2(stage2Batch(sampler, stream.nextBatch(), withMlm)),
        withMlm,
        options,
      );
    },
    evaluate: (options) => stage2Scores(model, whole(), masked(), charactersOf, options),
  };
}

export function stage1Batch(sampler: Stage1Sampler, indices: readonly number[]): Stage1Batch {
  return packStage1(indices.map((index) => sampler.sample(index)));
}

export function stage2Batch(
  sampler: Stage2Sampler,
  indices: readonly number[],
  maskSource: boolean,
): Stage2Batch {
  return packStage2(indices.map((index) => sampler.sample(index, { maskSource })));
}

function stage1Losses(model: PlugModel, batch: Stage1Batch, options: ForwardOptions): StepLosses {
  const source = textBatch(batch.source);
  const encoded = model.encode(source, options);
  const sentence = sentenceLoss(model, encoded, source.layout, indexTensor(batch.sentenceLabels));
  const numTokens = countTokens(batch.source);
  // A batch of a few short texts can have no label; a mean over none would not be a number.
  if (batch.labels.length === 0) return { loss: sentence, parts: { sentenceLoss: sentence }, numTokens };
  const mlm = mlmLoss(model, encoded, indexTensor(batch.labelIndex), indexTensor(batch.labels), options);
  return { loss: mlm.add(sentence), parts: { mlmLoss: mlm, sentenceLoss: sentence }, numTokens };
}

function stage2Losses(
  model: PlugModel,
  batch: Stage2Batch,
  withMlm: boolean,
  options: ForwardOptions,
): StepLosses {
  const source = textBatch(batch.source);
  const encoded = model.encode(source, options);
  const decoded = model.decode(textBatch(batch.target), encoded, source.layout, options);
  const lm = lmLoss(model, decoded, indexTensor(batch.targetLabels), options);
  const numTokens = countTokens(batch.source) + countTokens(batch.target);
  if (!withMlm || batch.labels.length === 0) return { loss: lm, parts: { lmLoss: lm }, numTokens };
  const mlm = mlmLoss(model, encoded, indexTensor(batch.labelIndex), indexTensor(batch.labels), options);
  return { loss: lm.add(mlm), parts: { lmLoss: lm, mlmLoss: mlm }, numTokens };
}

function positions(stream: BatchStream): Pick<TrainingObjective, 'position' | 'seek'> {
  return {
    position: () => ({ ...stream.position }),
    seek: (position) => stream.seek(position as unknown as BatchPosition),
  };
}

/** The first batches of the held-out corpus, the same at each evaluation. */
function heldOutBatches<Sampler extends Stage1Sampler | Stage2Sampler, Batch>(
  sampler: Sampler | undefined,
  settings: ObjectiveSettings,
  batchOf: (sampler: Sampler, indices: number[]) => Batch,
): Batch[] {
  return sampler ? [...firstBatches(sampler, settings, batchOf)] : [];
}

/** The first batches of a corpus, one by one, in the same order each time. */
export function* firstBatches<Sampler extends Stage1Sampler | Stage2Sampler, Batch>(
  sampler: Sampler,
  settings: ObjectiveSettings,
  batchOf: (sampler: Sampler, indices: number[]) => Batch,
): Generator<Batch, void, undefined> {
  const stream = batchStream(sampler, { ...settings, window: 256 });
  for (let made = 0; made < settings.evaluationBatches && stream.epoch === 0; made++)
    yield batchOf(sampler, stream.nextBatch());
}

function lazily<Value>(make: () => Value): () => Value {
  let made: Value | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** Without filler. */
function countTokens({ lengths }: { lengths: Int32Array }): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}
