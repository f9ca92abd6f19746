// The language model's test: bits per character on held-out poems, beside the 5-gram model on the same characters.
import { join } from 'node:path';
import { loadModel } from '../checkpoint/index.js';
import { openTokenCorpus } from '../corpus/index.js';
import { charactersOf, chooseDType, stage2Scores } from '../pretrain/index.js';
import { createStage2Sampler, packStage2, type Stage2Sample } from '../pretrain/samples/index.js';
import { loadTokenizer } from '../text/index.js';
import { ngramBitsPerCharacter } from './baselines.js';
import type { PoetryCorpus } from './poems.js';
import { shortRun } from './settings.js';

export interface LanguageModelResult {
  numSamples: number;
  numCharacters: number;
  bitsPerCharacter: number;
  perplexity: number;
  ngramBitsPerCharacter: number;
  /** Held-out documents too short to cut. */
  numSkippedDocuments: number;
}

const maxSamples = 2000;
const samplesPerBatch = 16;

/** Scores the finished stage 2 on held-out samples of the lengths it was trained on. */
export function testLanguageModel(poems: PoetryCorpus, modelFolder: string): LanguageModelResult {
  const tokenizer = loadTokenizer(poems.tokenizer);
  const heldOut = openTokenCorpus(join(poems.corpus, 'heldOut'));
  using model = loadModel(modelFolder);
  const sampler = createStage2Sampler(heldOut, tokenizer, {
    seed: 0,
    minLength: shortRun.minSideLength,
    maxLength: shortRun.maxSideLength,
  });
  const numSamples = Math.min(maxSamples, sampler.samplesPerEpoch);
  const samples = Array.from({ length: numSamples }, (_, index) =>
    sampler.sample(index, { maskSource: false }),
  );
  heldOut.close();
  samples.sort((a, b) => a.targetIds.length - b.targetIds.length);
  const batches = Array.from({ length: Math.ceil(numSamples / samplesPerBatch) }, (_, index) =>
    packStage2(samples.slice(index * samplesPerBatch, (index + 1) * samplesPerBatch)),
  );
  const characters = charactersOf(tokenizer);
  const scores = stage2Scores(model, batches, [], characters, { computeDType: chooseDType('auto') });
  const numCharacters = countCharacters(samples, characters);
  const numTokens = samples.reduce((sum, { targetIds }) => sum + targetIds.length - 1, 0);
  const perToken = ngramBitsPerCharacter(poems.corpus, tokenizer.vocabSize, samples);
  return {
    numSamples,
    numCharacters,
    bitsPerCharacter: scores.bitsPerCharacter!,
    perplexity: scores.perplexity!,
    ngramBitsPerCharacter: (perToken * numTokens) / numCharacters,
    numSkippedDocuments: sampler.numSkippedDocuments,
  };
}

function countCharacters(
  samples: readonly Stage2Sample[],
  charactersOfToken: (id: number) => number,
): number {
  let count = 0;
  for (const { targetIds } of samples)
    for (const id of targetIds.subarray(0, -1)) count += charactersOfToken(id);
  return count;
}
