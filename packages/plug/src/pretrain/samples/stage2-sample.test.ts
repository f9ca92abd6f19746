import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  assertProportion,
  assertUniform,
  assertUniformIntegers,
  corpusOfDistinctTokens,
  corpusOfLengths,
  randomCorpus,
  sigmas,
  type TestCorpus,
  vocabulary,
} from './samples.test-support.js';
import { createStage2Sampler, type Stage2Sample, type Stage2Settings } from './stage2-sample.js';

const { cls, sep, mask } = vocabulary.special;
const wide = { ...vocabulary, vocabSize: 10_000_000 };

function sampler(corpus: TestCorpus, settings: Partial<Stage2Settings> = {}) {
  return createStage2Sampler(corpus, wide, { seed: 3, ...settings });
}

/** Checks the form of a sample and returns the tokens of both sides before damage. */
function textsOf(sample: Stage2Sample): { source: number[]; target: number[] } {
  const source = [...sample.sourceIds];
  sample.labelPositions.forEach((position, i) => {
    source[position] = sample.labels[i]!;
  });
  assert.equal(source[0], cls);
  assert.equal(source.at(-1), sep);
  assert.equal(sample.decoderInputIds[0], cls);
  assert.equal(sample.targetIds.at(-1), sep);
  const target = [...sample.targetIds.subarray(0, -1)];
  assert.deepEqual([...sample.decoderInputIds.subarray(1)], target);
  return { source: source.slice(1, -1), target };
}

describe('stage 2 samples', () => {
  it('draw both lengths uniformly over [32, 512], independently', () => {
    const samples = sampler(randomCorpus(6, 200));
    const sources: number[] = [];
    const targets: number[] = [];
    const quadrants = new Float64Array(16);
    for (let index = 0; index < 20_000; index++) {
      const { source, target } = samples.lengthOf(index);
      sources.push(source - 2);
      targets.push(target - 1);
      quadrants[Math.floor(((source - 34) / 481) * 4) * 4 + Math.floor(((target - 33) / 481) * 4)]!++;
    }
    assertUniformIntegers(sources, 32, 512, 'source length');
    assertUniformIntegers(targets, 32, 512, 'target length');
    assert.deepEqual([Math.min(...sources), Math.max(...sources)], [32, 512]);
    // 481 is not a multiple of 4, so a cell is off by at most 0.6 %: invisible at this size.
    assertUniform(quadrants, 'source by target');
  });

  it('keep a range of its own for each side', () => {
    const samples = sampler(randomCorpus(6, 200), {
      minTargetLength: 30,
      maxTargetLength: 128,
      maxLength: 300,
    });
    const lengths = Array.from({ length: 8000 }, (_, index) => samples.lengthOf(index));
    assertUniformIntegers(
      lengths.map(({ source }) => source - 2),
      32,
      300,
      'source length',
    );
    assertUniformIntegers(
      lengths.map(({ target }) => target - 1),
      30,
      128,
      'target length',
    );
    assert.equal(samples.maxSampleTokens, 300 + 128 + 3);
  });

  it('draw uniformly among the pairs of lengths that fit a short document', () => {
    const samples = sampler(corpusOfLengths([[13]]), { minLength: 4, maxLength: 8 });
    const counts = new Map<string, number>();
    for (let index = 0; index < 14_000; index++) {
      const { source, target } = samples.lengthOf(index);
      const key = `${source - 2} ${target - 1}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    // 25 pairs of 4..8, without 6+8, 8+6, 7+7, 7+8, 8+7, 8+8.
    assert.equal(counts.size, 19);
    assertUniform([...counts.values()], 'pairs of lengths');
  });

  it('are a piece of one document, cut in two, at a uniform place', () => {
    const corpus = corpusOfDistinctTokens([[100], [30, 40], [500]]);
    const samples = sampler(corpus, { minLength: 10, maxLength: 30 });
    const places = new Float64Array(10);
    for (let index = 0; index < 8000; index++) {
      const sample = samples.sample(index);
      const { source, target } = textsOf(sample);
      assert.deepEqual(samples.lengthOf(index), {
        source: sample.sourceIds.length,
        target: sample.targetIds.length,
      });
      const piece = [...source, ...target];
      const document = corpus.tokens.find(
        (tokens) => tokens[0]! <= piece[0]! && piece[0]! <= tokens.at(-1)!,
      )!;
      const start = document.indexOf(piece[0]!);
      assert.deepEqual(piece, [...document.subarray(start, start + piece.length)]);
      if (document.length === 500) places[Math.floor((start / (501 - piece.length)) * 10)]!++;
    }
    assertUniform(places, 'start of the piece');
  });

  it('mask 15 % of the source and nothing else; with masking off the text is the same', () => {
    const samples = sampler(randomCorpus(6, 200), { maxLength: 64 });
    let masked = 0;
    let expected = 0;
    let variance = 0;
    let maskTokens = 0;
    for (let index = 0; index < 4000; index++) {
      const sample = samples.sample(index);
      const plain = samples.sample(index, { maskSource: false });
      const { source, target } = textsOf(sample);
      assert.deepEqual(textsOf(plain), { source, target });
      assert.deepEqual(plain.sourceIds, Int32Array.from([cls, ...source, sep]));
      assert.equal(plain.labelPositions.length + plain.labels.length, 0);
      masked += sample.labelPositions.length;
      const share = 0.15 * source.length;
      expected += share;
      variance += (share % 1) * (1 - (share % 1));
      for (const position of sample.labelPositions) if (sample.sourceIds[position] === mask) maskTokens++;
    }
    assert.ok(Math.abs(masked - expected) < sigmas * Math.sqrt(variance), `${masked} masked of ${expected}`);
    assertProportion(maskTokens, masked, 0.8, '[MASK]');
  });

  it('end the source at a sentence end with the given probability', () => {
    const corpus = corpusOfDistinctTokens(
      Array.from({ length: 20 }, () => Array.from({ length: 30 }, () => 10)),
    );
    const atSentenceEnd = (fullSentenceProbability: number) => {
      const samples = sampler(corpus, { minLength: 15, maxLength: 60, fullSentenceProbability });
      let count = 0;
      for (let index = 0; index < 6000; index++) {
        const { source, target } = textsOf(samples.sample(index));
        assert.ok(source.length >= 15 && source.length <= 60 && target.length >= 15 && target.length <= 60);
        const cut = (target[0]! - 1000) % 300; // in its document of 300 tokens
        if (cut % 10 === 0) count++;
        else if (fullSentenceProbability === 1) {
          // The cut stays only if no sentence end leaves both sides in their ranges.
          const next = Math.ceil(cut / 10) * 10;
          assert.ok(source.length - (cut % 10) < 15 && next + target.length > 300);
        }
      }
      return count;
    };
    assert.ok(atSentenceEnd(1) > 0.99 * 6000);
    assertProportion(atSentenceEnd(0.3), 6000, 0.3 + 0.7 / 10, 'cuts at a sentence end');
    assertProportion(atSentenceEnd(0), 6000, 1 / 10, 'cuts at a sentence end by chance');
  });

  it('visit documents in proportion to their lengths, and skip and count the short ones', () => {
    const corpus = corpusOfDistinctTokens([[19], [200], [], [600], [20]]);
    const samples = sampler(corpus, { minLength: 10, maxLength: 30 });
    assert.equal(samples.numSkippedDocuments, 2);
    const visits = [0, 0, 0, 0, 0];
    const number = samples.samplesPerEpoch * 400;
    for (let index = 0; index < number; index++) {
      const first = samples.sample(index, { maskSource: false }).sourceIds[1]!;
      visits[corpus.tokens.findIndex((tokens) => tokens.includes(first))]!++;
    }
    assert.deepEqual([visits[0], visits[2]], [0, 0]);
    // Visits in one epoch differ by at most one from the exact share: far closer than a binomial.
    for (const [document, length] of [
      [1, 200],
      [3, 600],
      [4, 20],
    ] as const) {
      assert.ok(Math.abs(visits[document]! / number - length / 820) < 1 / samples.samplesPerEpoch / 4);
    }
  });

  it('depend on seed and index only', () => {
    const corpus = randomCorpus(15, 40);
    const indices = Array.from({ length: 300 }, (_, i) => i);
    const [forward, backward] = [sampler(corpus), sampler(corpus)];
    const one = indices.map((index) => forward.sample(index));
    const two = [...indices].reverse().map((index) => backward.sample(index));
    assert.deepEqual(one, two.reverse());
    assert.notDeepEqual(
      one,
      indices.map((index) => sampler(corpus, { seed: 4 }).sample(index)),
    );
  });

  it('explain what is wrong with a corpus or a setting', () => {
    assert.throws(() => sampler(corpusOfLengths([])), { code: 'CORPUS' });
    assert.throws(() => sampler(corpusOfLengths([[63], [20, 40]])), { code: 'CORPUS', message: /64 tokens/ });
    const corpus = corpusOfLengths([[64]]);
    assert.equal(textsOf(sampler(corpus).sample(0)).source.length, 32);
    assert.throws(() => sampler(corpus, { minLength: 0 }), { code: 'CONFIG' });
    assert.throws(() => sampler(corpus, { maxLength: 20 }), {
      code: 'CONFIG',
      message: /minSourceLength 32/,
    });
    assert.throws(() => sampler(corpus, { fullSentenceProbability: -1 }), { code: 'CONFIG' });
  });
});
