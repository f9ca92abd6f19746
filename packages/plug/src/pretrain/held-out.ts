// Scores on held-out text: accuracy of the masked LM and of the sentence relation, LM perplexity, and bits per
// character.
import { noGrad, scope, type Tensor } from '@openplug/torch';
import { type ForwardOptions, indexTensor, type PlugModel, textBatch } from '../model/index.js';
import { labelKind, type Stage1Batch, type Stage2Batch } from './samples/index.js';

/** Share of masked tokens restored, of shuffled tokens restored, of sentence classes right, and mean losses. */
export function stage1Scores(
  model: PlugModel,
  batches: readonly Stage1Batch[],
  options: ForwardOptions,
): Record<string, number> {
  const sums = { masked: 0, maskedRight: 0, maskedLoss: 0, order: 0, orderRight: 0, rows: 0, rowsRight: 0 };
  for (const batch of batches) {
    noGrad(() =>
      scope(() => {
        const source = textBatch(batch.source);
        const encoded = model.encode(source, options);
        const { right, losses } = scored(
          model.mlmLogits(encoded.indexSelect(0, indexTensor(batch.labelIndex)), options),
          batch.labels,
        );
        for (const [index, kind] of batch.labelKinds.entries()) {
          if (kind === labelKind.masked) {
            sums.masked++;
            sums.maskedRight += right[index]!;
            sums.maskedLoss += losses[index]!;
          } else {
            sums.order++;
            sums.orderRight += right[index]!;
          }
        }
        const sentences = scored(model.sentenceLogits(encoded, source.layout), batch.sentenceLabels);
        sums.rows += sentences.right.length;
        sums.rowsRight += sentences.right.reduce((sum, value) => sum + value, 0);
      }),
    );
  }
  if (sums.rows === 0) return {};
  return {
    mlmAccuracy: sums.maskedRight / sums.masked,
    mlmLoss: sums.maskedLoss / sums.masked,
    wordOrderAccuracy: sums.orderRight / sums.order,
    sentenceAccuracy: sums.rowsRight / sums.rows,
  };
}

/**
 * LM perplexity by token (end token included) and bits per character (text only: the end token is no character),
 * from whole sources; masked-LM accuracy from masked ones.
 */
export function stage2Scores(
  model: PlugModel,
  whole: readonly Stage2Batch[],
  masked: readonly Stage2Batch[],
  charactersOf: (id: number) => number,
  options: ForwardOptions,
): Record<string, number> {
  let [tokens, nats, textNats, characters] = [0, 0, 0, 0];
  for (const batch of whole) {
    const losses = targetLosses(model, batch, options);
    let at = 0;
    for (const length of batch.target.lengths) {
      for (let position = 0; position < length; position++, at++) {
        nats += losses[at]!;
        tokens++;
        if (position === length - 1) continue;
        textNats += losses[at]!;
        characters += charactersOf(batch.targetLabels[at]!);
      }
    }
  }
  if (tokens === 0) return {};
  let [labels, right] = [0, 0];
  for (const batch of masked) {
    noGrad(() =>
      scope(() => {
        const encoded = model.encode(textBatch(batch.source), options);
        const picked = encoded.indexSelect(0, indexTensor(batch.labelIndex));
        const score = scored(model.mlmLogits(picked, options), batch.labels);
        labels += batch.labels.length;
        right += score.right.reduce((sum, value) => sum + value, 0);
      }),
    );
  }
  return {
    lmLoss: nats / tokens,
    perplexity: Math.exp(nats / tokens),
    bitsPerCharacter: textNats / Math.LN2 / characters,
    mlmAccuracy: right / labels,
  };
}

/** −ln p of each target token of a batch, given its source and earlier target tokens. */
export function targetLosses(
  model: PlugModel,
  batch: Pick<Stage2Batch, 'source' | 'target' | 'targetLabels'>,
  options: ForwardOptions,
): Float64Array {
  return noGrad(() =>
    scope(() => {
      const source = textBatch(batch.source);
      const decoded = model.decode(
        textBatch(batch.target),
        model.encode(source, options),
        source.layout,
        options,
      );
      return scored(model.lmLogits(decoded, options), batch.targetLabels).losses;
    }),
  );
}

/** For each row of logits [M, V]: whether the arg max is the label (1 or 0), and −ln p(label). */
function scored(logits: Tensor, labels: Int32Array): { right: Float64Array; losses: Float64Array } {
  const wide = logits.dtype === 'float64' ? logits : logits.to('float32');
  const wanted = indexTensor(labels);
  const right = wide.argmax(-1).eq(wanted);
  const losses = wide.logSoftmax(-1).gather(1, wanted.unsqueeze(1)).neg();
  return { right: Float64Array.from(right.toArray()), losses: Float64Array.from(losses.toArray()) };
}
