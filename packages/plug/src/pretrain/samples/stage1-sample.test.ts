import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keyedRandom } from '../../random.js';
import {
  assertProportion,
  assertUniform,
  corpusOfDistinctTokens,
  corpusOfLengths,
  randomCorpus,
  sigmas,
  type TestCorpus,
  vocabulary,
} from './samples.test-support.js';
import { createStage1Sampler, type Stage1Sample, type Stage1Settings } from './stage1-sample.js';

const { cls, sep } = vocabulary.special;
const wide = { ...vocabulary, vocabSize: 10_000_000 };

/** The two texts as they were before damage. */
function textsOf(sample: Stage1Sample): { a: number[]; b: number[] } {
  const ids = [...sample.inputIds];
  sample.labelPositions.forEach((position, i) => {
    ids[position] = sample.labels[i]!;
  });
  const middle = sample.tokenTypeIds.indexOf(1) - 1;
  assert.equal(ids[0], cls);
  assert.equal(ids[middle], sep);
  assert.equal(ids.at(-1), sep);
  assert.ok(sample.tokenTypeIds.every((type, position) => type === (position > middle ? 1 : 0)));
  return { a: ids.slice(1, middle), b: ids.slice(middle + 1, -1) };
}

/** Where a text of distinct tokens lies: [document, start, end). */
function locate(corpus: TestCorpus, text: number[]): { document: number; start: number; end: number } {
  const document = corpus.tokens.findIndex((tokens) => tokens[0]! <= text[0]! && text[0]! <= tokens.at(-1)!);
  const start = corpus.tokens[document]!.indexOf(text[0]!);
  const original = [...corpus.tokens[document]!.subarray(start, start + text.length)];
  assert.deepEqual(text, original, 'a text is a piece of one document');
  return { document, start, end: start + text.length };
}

function sampler(corpus: TestCorpus, settings: Partial<Stage1Settings> = {}) {
  return createStage1Sampler(corpus, wide, { seed: 3, maxLength: 128, ...settings });
}

describe('stage 1 samples', () => {
  it('have classes of one third each, in a corpus with many single sentences as well', () => {
    for (const documents of [
      Array.from({ length: 40 }, () => Array.from({ length: 8 }, () => 12)),
      Array.from({ length: 40 }, (_, i) => (i % 10 === 0 ? [9, 9, 9] : [30])),
      Array.from({ length: 400 }, (_, i) => (i === 77 ? [2, 2] : [30])), // one document in 400 can be split
    ]) {
      const samples = sampler(corpusOfLengths(documents));
      const counts = new Float64Array(3);
      const number = 40_000;
      for (let index = 0; index < number; index++) counts[samples.sample(index).sentenceLabel]!++;
      for (const [label, count] of counts.entries()) assertProportion(count, number, 1 / 3, `class ${label}`);
    }
  });

  it('join texts that meet at a sentence start, in both orders, or come from two documents', () => {
    const random = keyedRandom(8);
    const corpus = corpusOfDistinctTokens(
      Array.from({ length: 30 }, (_, i) =>
        Array.from({ length: (i % 12) + 1 }, () =>
          random.integer(0, 9) === 0 ? 200 : random.integer(1, 40),
        ),
      ),
    );
    for (const shortSequenceProbability of [0, 0.3]) {
      const samples = sampler(corpus, { shortSequenceProbability });
      const seen = [0, 0, 0];
      for (let index = 0; index < 3000; index++) {
        const sample = samples.sample(index);
        const texts = textsOf(sample);
        const a = locate(corpus, texts.a);
        const b = locate(corpus, texts.b);
        seen[sample.sentenceLabel]!++;
        const length = sample.inputIds.length;
        assert.ok(length <= 128);
        assert.deepEqual(samples.lengthOf(index), { source: length, target: 0 });
        if (sample.sentenceLabel === 2) {
          assert.notEqual(a.document, b.document);
          continue;
        }
        const [before, after] = sample.sentenceLabel === 0 ? [a, b] : [b, a];
        assert.equal(before.document, after.document);
        assert.equal(before.end, after.start, 'the texts meet');
        const starts = [...(corpus.document(before.document).sentenceStarts as Uint32Array)];
        const ends = [...starts, corpus.documentLength(before.document)];
        assert.ok(starts.includes(after.start), 'at a sentence start');
        const whole = starts.includes(before.start) && ends.includes(after.end);
        if (shortSequenceProbability === 0 && !whole) assert.equal(length, 128, 'texts are cut only to fit');
      }
      assert.ok(seen.every((count) => count > 900));
    }
  });

  it('are full but for a tenth, whose limit is uniform', () => {
    const samples = sampler(randomCorpus(20, 60));
    const number = 5000;
    const byLength = new Float64Array(130);
    for (let index = 0; index < number; index++) byLength[samples.lengthOf(index).source]!++;
    // One in 124 of the short ones draws the full length.
    assertProportion(byLength[128]!, number, 0.9 + 0.1 / 124, 'full sequences');
    const tenths = Array.from({ length: 10 }, (_, cell) =>
      byLength.subarray(5 + cell * 12, 5 + (cell + 1) * 12).reduce((sum, count) => sum + count, 0),
    );
    assertUniform(tenths, 'lengths of short sequences');
  });

  it('do not give the class away by their lengths', () => {
    const random = keyedRandom(12);
    const corpus = corpusOfLengths(
      Array.from({ length: 60 }, () =>
        Array.from({ length: random.integer(2, 30) }, () => random.integer(3, 30)),
      ),
    );
    const samples = sampler(corpus, { maxLength: 512, shortSequenceProbability: 0 });
    const lengths: number[][] = [[], [], []];
    for (let index = 0; index < 6000; index++) {
      const { inputIds, sentenceLabel } = samples.sample(index);
      lengths[sentenceLabel]!.push(inputIds.length);
    }
    const means = lengths.map((all) => all.reduce((sum, length) => sum + length, 0) / all.length);
    // Next and previous are mirror images; a random text may be shorter where its document ends.
    assert.ok(Math.abs(means[0]! / means[1]! - 1) < 0.05, `means ${means}`);
    assert.ok(means[2]! > 0.75 * means[0]! && means[2]! <= 1.03 * means[0]!, `means ${means}`);
  });

  it('mask 15 % and shuffle trigrams among the rest', () => {
    const samples = sampler(randomCorpus(20, 60), { shortSequenceProbability: 0 });
    const number = 3000;
    let masked = 0;
    let wordOrder = 0;
    for (let index = 0; index < number; index++) {
      const { labelKinds } = samples.sample(index);
      for (const kind of labelKinds) kind === 0 ? masked++ : wordOrder++;
    }
    const perSample = 0.15 * 125;
    assert.ok(Math.abs(masked / number - perSample) < (sigmas * Math.sqrt(0.75 * 0.25)) / Math.sqrt(number));
    // About 125 * 0.85 free tokens, two thirds of them in trigrams, one in twenty of these shuffled.
    assert.ok(wordOrder / number > 2.5 && wordOrder / number < 5.5, `${wordOrder / number} tokens`);
  });

  it('depend on seed and index only', () => {
    const corpus = randomCorpus(15, 12);
    const forward = sampler(corpus);
    const backward = sampler(corpus);
    const indices = Array.from({ length: 300 }, (_, i) => i);
    const one = indices.map((index) => forward.sample(index));
    const two = [...indices].reverse().map((index) => backward.sample(index));
    assert.deepEqual(one, two.reverse());
    assert.notDeepEqual(
      one,
      indices.map((index) => sampler(corpus, { seed: 4 }).sample(index)),
    );
  });

  it('accept the smallest sizes', () => {
    const corpus = corpusOfDistinctTokens([[1, 1], [1], [2, 3], [0, 4, 0, 2, 0]]);
    for (const maxLength of [5, 6, 9]) {
      const samples = sampler(corpus, { maxLength });
      for (let index = 0; index < 500; index++) {
        const { a, b } = textsOf(samples.sample(index));
        assert.ok(a.length >= 1 && b.length >= 1 && a.length + b.length + 3 <= maxLength);
      }
    }
  });

  it('explain what is wrong with a corpus or a setting', () => {
    assert.throws(() => sampler(corpusOfLengths([])), { code: 'CORPUS' });
    assert.throws(() => sampler(corpusOfLengths([[], []])), { code: 'CORPUS' });
    assert.throws(() => sampler(corpusOfLengths([[5, 5], []])), /at least two/);
    assert.throws(() => sampler(corpusOfLengths([[5], [6]])), /two sentences/);
    const corpus = corpusOfLengths([[5, 5], [6]]);
    assert.throws(() => sampler(corpus, { maxLength: 4 }), { code: 'CONFIG', message: /maxLength is 4/ });
    assert.throws(() => sampler(corpus, { maxLength: 64.5 }), { code: 'CONFIG' });
    assert.throws(() => sampler(corpus, { shortSequenceProbability: 2 }), { code: 'CONFIG' });
  });
});
