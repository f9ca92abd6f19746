import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type PackedTexts, packTexts } from '../../model/index.js';
import { packStage1, packStage2 } from './packing.js';
import { randomCorpus, vocabulary } from './samples.test-support.js';
import { createStage1Sampler } from './stage1-sample.js';
import { createStage2Sampler } from './stage2-sample.js';

/** The slices of a flat array that belong to the rows. */
function rowsOf(flat: Int32Array, lengths: Int32Array): Int32Array[] {
  let start = 0;
  return Array.from(lengths, (length) => {
    start += length;
    return flat.slice(start - length, start);
  });
}

/** Takes labels in a packed batch apart again: positions in each row, and labels. */
function labelsByRow(index: Int32Array, labels: ArrayLike<number>, lengths: Int32Array) {
  let start = 0;
  return Array.from(lengths, (length) => {
    const mine = [...index.keys()].filter((i) => index[i]! >= start && index[i]! < start + length);
    const row = { positions: mine.map((i) => index[i]! - start), labels: mine.map((i) => labels[i]!) };
    start += length;
    return row;
  });
}

function assertPositions(texts: PackedTexts): void {
  for (const row of rowsOf(texts.positionIds, texts.lengths)) {
    assert.ok(row.every((position, i) => position === i));
  }
}

describe('packing', () => {
  const corpus = randomCorpus(10, 30);

  it('loses nothing of stage 1 samples', () => {
    const sampler = createStage1Sampler(corpus, vocabulary, { seed: 1, maxLength: 64 });
    const samples = Array.from({ length: 40 }, (_, index) => sampler.sample(index));
    const { source, labelIndex, labels, labelKinds, sentenceLabels } = packStage1(samples);
    assert.deepEqual(
      rowsOf(source.ids, source.lengths),
      samples.map((sample) => sample.inputIds),
    );
    assert.deepEqual(
      rowsOf(source.tokenTypeIds, source.lengths),
      samples.map((sample) => Int32Array.from(sample.tokenTypeIds)),
    );
    assertPositions(source);
    assert.deepEqual(
      labelsByRow(labelIndex, labels, source.lengths),
      samples.map((sample) => ({ positions: [...sample.labelPositions], labels: [...sample.labels] })),
    );
    assert.deepEqual(
      [...labelKinds],
      samples.flatMap((sample) => [...sample.labelKinds]),
    );
    assert.deepEqual(
      [...sentenceLabels],
      samples.map((sample) => sample.sentenceLabel),
    );
  });

  it('loses nothing of stage 2 samples, with and without masking', () => {
    const sampler = createStage2Sampler(corpus, vocabulary, { seed: 1, maxLength: 64 });
    for (const maskSource of [true, false]) {
      const samples = Array.from({ length: 40 }, (_, index) => sampler.sample(index, { maskSource }));
      const { source, labelIndex, labels, target, targetLabels } = packStage2(samples);
      assert.deepEqual(
        rowsOf(source.ids, source.lengths),
        samples.map((sample) => sample.sourceIds),
      );
      assert.deepEqual(
        rowsOf(target.ids, target.lengths),
        samples.map((sample) => sample.decoderInputIds),
      );
      assert.deepEqual(
        rowsOf(targetLabels, target.lengths),
        samples.map((sample) => sample.targetIds),
      );
      assertPositions(source);
      assertPositions(target);
      assert.ok([...source.tokenTypeIds, ...target.tokenTypeIds].every((type) => type === 0));
      assert.deepEqual(
        labelsByRow(labelIndex, labels, source.lengths),
        samples.map((sample) => ({ positions: [...sample.labelPositions], labels: [...sample.labels] })),
      );
    }
  });

  it('packs nothing into nothing', () => {
    const empty = new Int32Array(0);
    assert.deepEqual(packTexts([]), { ids: empty, positionIds: empty, tokenTypeIds: empty, lengths: empty });
  });
});
