// Puts the samples of a batch end to end, without padding: the form in which the model takes them.
import { type PackedTexts, packTexts } from '../../model/index.js';
import type { Stage1Sample } from './stage1-sample.js';
import type { Stage2Sample } from './stage2-sample.js';

export interface Stage1Batch {
  source: PackedTexts;
  /** Indices into `source.ids` of the tokens to restore, ascending. */
  labelIndex: Int32Array;
  /** The original ids there. */
  labels: Int32Array;
  /** A `labelKind` for each label: masked or in a shuffled trigram. */
  labelKinds: Uint8Array;
  /** The class of each row. */
  sentenceLabels: Int32Array;
}

export interface Stage2Batch {
  source: PackedTexts;
  /** Indices into `source.ids` of the tokens that the masked LM restores, ascending; empty without masking. */
  labelIndex: Int32Array;
  /** The original ids there. */
  labels: Int32Array;
  /** What the decoder reads: [CLS] t1 … tn in each row. */
  target: PackedTexts;
  /** What it should write, token by token: t1 … tn [SEP] in each row; as long as `target.ids`. */
  targetLabels: Int32Array;
}

/** Rows in the order of the samples. */
export function packStage1(samples: readonly Stage1Sample[]): Stage1Batch {
  const source = packTexts(
    samples.map((sample) => sample.inputIds),
    samples.map((sample) => sample.tokenTypeIds),
  );
  return {
    source,
    labelIndex: packIndices(
      samples.map((sample) => sample.labelPositions),
      source.lengths,
    ),
    labels: concatenate(samples.map((sample) => sample.labels)),
    labelKinds: Uint8Array.from(concatenate(samples.map((sample) => sample.labelKinds))),
    sentenceLabels: Int32Array.from(samples, (sample) => sample.sentenceLabel),
  };
}

/** Rows in the order of the samples; all token types are 0. */
export function packStage2(samples: readonly Stage2Sample[]): Stage2Batch {
  const source = packTexts(samples.map((sample) => sample.sourceIds));
  return {
    source,
    labelIndex: packIndices(
      samples.map((sample) => sample.labelPositions),
      source.lengths,
    ),
    labels: concatenate(samples.map((sample) => sample.labels)),
    target: packTexts(samples.map((sample) => sample.decoderInputIds)),
    targetLabels: concatenate(samples.map((sample) => sample.targetIds)),
  };
}

/** Positions in each row as indices into the packed array. */
function packIndices(positions: readonly Int32Array[], lengths: Int32Array): Int32Array {
  const indices = concatenate(positions);
  let rowStart = 0;
  let next = 0;
  for (let row = 0; row < lengths.length; row++) {
    for (const last = next + positions[row]!.length; next < last; next++) indices[next]! += rowStart;
    rowStart += lengths[row]!;
  }
  return indices;
}

function concatenate(rows: readonly ArrayLike<number>[]): Int32Array {
  const all = new Int32Array(rows.reduce((total, row) => total + row.length, 0));
  let start = 0;
  for (const row of rows) {
    all.set(row, start);
    start += row.length;
  }
  return all;
}
