// The pre-training losses: means over labelled tokens, with logits computed nowhere else and let go of at once.
import { nn, scope, type Tensor } from '@openplug/torch';
import type { TextLayout } from './batch.js';
import type { ForwardOptions } from './forward.js';
import type { PlugModel } from './plug.js';

/**
 * Masked-LM loss (and the word-structural one, which shares the head).
 * @param encoded [N, E]
 * @param labelIndex where the labels are, int64 [M] into the packed tokens
 * @param labels int64 [M]
 */
export function mlmLoss(
  model: PlugModel,
  encoded: Tensor,
  labelIndex: Tensor,
  labels: Tensor,
  options: ForwardOptions,
): Tensor {
  return scope(() => nn.crossEntropy(model.mlmLogits(encoded.indexSelect(0, labelIndex), options), labels));
}

/** Sentence-structural loss: three classes from [CLS]; `labels` int64 [B]. */
export function sentenceLoss(model: PlugModel, encoded: Tensor, layout: TextLayout, labels: Tensor): Tensor {
  return nn.crossEntropy(model.sentenceLogits(encoded, layout), labels);
}

/** Language-model loss over all target tokens: `decoded` [N, E], `targets` int64 [N]. */
export function lmLoss(model: PlugModel, decoded: Tensor, targets: Tensor, options: ForwardOptions): Tensor {
  return scope(() => nn.crossEntropy(model.lmLogits(decoded, options), targets));
}
