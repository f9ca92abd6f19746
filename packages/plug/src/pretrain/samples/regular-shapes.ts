// Rounds the shapes of training batches up, so that few different ones occur. oneDNN compiles a matrix product for
// each new shape, which took a fifth of a small model's step when every batch had a token count of its own.
import type { PackedTexts } from '../../model/index.js';
import type { Stage1Batch, Stage2Batch } from './packing.js';

const tokenMultiple = 64;
const labelMultiple = 32;

/** Label that no loss counts. */
const ignoredLabel = -100;

/** A stage 1 batch with filler tokens past its rows, and filler labels that do not count. */
export function regularStage1(batch: Stage1Batch): Stage1Batch {
  return { ...batch, source: regularTexts(batch.source), ...regularLabels(batch) };
}

/** A stage 2 batch with filler tokens past its rows on both sides, and filler labels that do not count. */
export function regularStage2(batch: Stage2Batch): Stage2Batch {
  return {
    ...batch,
    source: regularTexts(batch.source),
    ...regularLabels(batch),
    target: regularTexts(batch.target),
    targetLabels: extended(batch.targetLabels, tokenMultiple, ignoredLabel),
  };
}

function regularTexts(texts: PackedTexts): PackedTexts {
  const fill = (values: Int32Array): Int32Array => extended(values, tokenMultiple, 0);
  return {
    ids: fill(texts.ids),
    positionIds: fill(texts.positionIds),
    tokenTypeIds: fill(texts.tokenTypeIds),
    lengths: texts.lengths,
  };
}

function regularLabels({ labelIndex, labels }: { labelIndex: Int32Array; labels: Int32Array }) {
  return {
    labelIndex: extended(labelIndex, labelMultiple, 0),
    labels: extended(labels, labelMultiple, ignoredLabel),
  };
}

function extended(values: Int32Array, multiple: number, filler: number): Int32Array {
  const longer = new Int32Array(roundUp(values.length, multiple)).fill(filler, values.length);
  longer.set(values);
  return longer;
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
