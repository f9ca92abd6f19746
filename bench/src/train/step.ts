// Our training step over one batch, as the training loop takes it.
import { type AdamW, backward, scope, type Tensor, zeros } from '@openplug/torch';
import { indexTensor, lmLoss, mlmLoss, type PlugModel, packTexts, textBatch } from '../openplug.js';
import type { TrainCase } from './case.js';

/** What a step found. */
export interface StepNumbers {
  mlm: number;
  lm: number;
  gradientNorm: number;
}

/** One step as in training; `dropoutSeed` undefined is no dropout. Without a decoder the LM loss is 0. */
export function trainStep(
  model: PlugModel,
  optimizer: AdamW,
  { batch, precision, learningRate, clipGradNorm, recomputeLayers = false }: TrainCase,
  dropoutSeed: number | undefined,
): StepNumbers {
  const losses = scope(() => {
    const options = {
      computeDType: precision,
      recomputeLayers,
      ...(dropoutSeed !== undefined && { dropoutSeed }),
    };
    const source = textBatch(packTexts(batch.sourceIds));
    const target = textBatch(packTexts(batch.decoderInputIds));
    const sourceLength = batch.sourceIds[0]!.length;
    const labelIndex = batch.labelPositions.flatMap((row, index) =>
      row.map((position) => index * sourceLength + position),
    );
    const encoded = model.encode(source, options);
    const learned = (): Tensor => {
      const decoded = model.decode(target, encoded, source.layout, options);
      return lmLoss(model, decoded, indexTensor(batch.targetIds.flat()), options);
    };
    const lm = model.config.decHiddenLayers > 0 ? learned() : zeros([]);
    const mlm = mlmLoss(model, encoded, indexTensor(labelIndex), indexTensor(batch.labels.flat()), options);
    backward(lm.add(mlm));
    return { mlm: mlm.item(), lm: lm.item() };
  });
  const gradientNorm = optimizer.gradientNorm();
  optimizer.update(learningRate, Math.min(1, clipGradNorm / (gradientNorm + 1e-6)));
  optimizer.clearGradients();
  return { ...losses, gradientNorm };
}
