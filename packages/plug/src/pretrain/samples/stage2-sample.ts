// Samples of stage 2: a piece of text cut into a source, which the encoder reads (with masked tokens, if the
// masked LM is still trained), and its continuation, which the decoder writes.
import { ConfigError, CorpusError } from '../../errors.js';
import { keyedRandom, type RandomStream } from '../../random.js';
import { planAnchors } from './anchors.js';
import type { SampleLengths } from './batches.js';
import type { CorpusView, VocabularyView } from './corpus-view.js';
import { createMasking, type MaskingSettings } from './masking.js';
import { streamKey } from './random-streams.js';
import { firstStartAtOrAfter } from './sentence-pair.js';
import { checkInteger, checkProbability } from './settings-checks.js';

export interface Stage2Sample {
  /** [CLS] s1 … sm [SEP], with masked tokens. */
  sourceIds: Int32Array;
  /** Ascending positions in `sourceIds` that the masked LM restores; empty when masking is off. */
  labelPositions: Int32Array;
  /** The original ids there. */
  labels: Int32Array;
  /** [CLS] t1 … tn. */
  decoderInputIds: Int32Array;
  /** t1 … tn [SEP]. */
  targetIds: Int32Array;
}

/** Lengths count the tokens of the text only: [CLS] and [SEP] come on top (2 for a source, 1 for a target). */
export interface Stage2Settings extends Omit<MaskingSettings, 'trigramProbability' | 'trigramLength'> {
  seed: number;
  /** Shortest source and target. Default 32. */
  minLength?: number;
  /** Longest source and target. Default 512. */
  maxLength?: number;
  /** These four set a range for one side only; each defaults to `minLength` or `maxLength`. */
  minSourceLength?: number;
  maxSourceLength?: number;
  minTargetLength?: number;
  maxTargetLength?: number;
  /**
   * Share of samples whose cut is moved to a sentence boundary: the last one at or before the drawn cut, else
   * the first one after it, that leaves the source in its range and the target its length; if there is none the
   * cut stays. The published code used 0.3; it makes source lengths less uniform. Default 0.
   */
  fullSentenceProbability?: number;
}

export interface Stage2Sampler extends SampleLengths {
  /** Documents shorter than the shortest source and target together: never used. */
  readonly numSkippedDocuments: number;
  /**
   * The sample of this index, a pure function of (corpus, settings, index, maskSource). The text is the same
   * with masking on (the default) and off.
   */
  sample(index: number, options?: { maskSource?: boolean }): Stage2Sample;
}

interface Lengths {
  minSource: number;
  maxSource: number;
  minTarget: number;
  maxTarget: number;
}

/**
 * Both lengths are drawn independently and uniformly over their ranges where the document holds the longest
 * source and target together; from a shorter document, uniformly among the pairs of lengths that fit. The place
 * of the piece is uniform over the document; documents are visited in proportion to their lengths (see
 * `planAnchors`).
 *
 * @throws ConfigError on a setting out of range.
 * @throws CorpusError if no document is long enough.
 */
export function createStage2Sampler(
  corpus: CorpusView,
  vocabulary: VocabularyView,
  settings: Stage2Settings,
): Stage2Sampler {
  const { seed, minLength = 32, maxLength = 512, fullSentenceProbability = 0 } = settings;
  const { minSourceLength = minLength, maxSourceLength = maxLength } = settings;
  const { minTargetLength = minLength, maxTargetLength = maxLength } = settings;
  checkRange('SourceLength', minSourceLength, maxSourceLength);
  checkRange('TargetLength', minTargetLength, maxTargetLength);
  checkProbability('fullSentenceProbability', fullSentenceProbability);
  const masking = createMasking(vocabulary, settings);
  const lengths: Lengths = {
    minSource: minSourceLength,
    maxSource: maxSourceLength,
    minTarget: minTargetLength,
    maxTarget: maxTargetLength,
  };

  const shortest = minSourceLength + minTargetLength;
  let numSkippedDocuments = 0;
  for (let i = 0; i < corpus.numDocuments; i++)
    if (corpus.documentLength(i) < shortest) numSkippedDocuments++;
  if (numSkippedDocuments === corpus.numDocuments) {
    throw new CorpusError(
      `None of the ${corpus.numDocuments} documents has ${shortest} tokens (shortest source ${minSourceLength} + ` +
        `shortest target ${minTargetLength}). Lower minLength, or join short texts into longer documents.`,
    );
  }
  const anchors = planAnchors({
    seed,
    stage: 2,
    numDocuments: corpus.numDocuments,
    weightOf: (document) => {
      const length = corpus.documentLength(document);
      return length < shortest ? 0 : length;
    },
    tokensRead: meanTokensRead(lengths),
  });

  /** Which tokens a sample is made of: source [start, cut), target [cut, end). */
  function planCut(index: number): { document: number; start: number; cut: number; end: number } {
    const random = keyedRandom(seed, streamKey.stage2Sample, index);
    const { document, fraction } = anchors.at(index);
    const length = corpus.documentLength(document);
    const { source, target } = drawLengths(lengths, length, random);
    const start = Math.floor(fraction * (length - source - target + 1));
    let cut = start + source;
    if (fullSentenceProbability > 0 && random.uniform() < fullSentenceProbability) {
      const { sentenceStarts } = corpus.document(document);
      const lowest = start + minSourceLength;
      const highest = Math.min(start + maxSourceLength, length - target);
      cut = moveToSentence(sentenceStarts, cut, lowest, highest);
    }
    return { document, start, cut, end: cut + target };
  }

  return {
    samplesPerEpoch: anchors.samplesPerEpoch,
    maxSampleTokens: maxSourceLength + maxTargetLength + 3,
    numSkippedDocuments,
    lengthOf(index) {
      const { start, cut, end } = planCut(index);
      return { source: cut - start + 2, target: end - cut + 1 };
    },
    sample(index, { maskSource = true } = {}) {
      const { document, start, cut, end } = planCut(index);
      const { tokens } = corpus.document(document);
      const { cls, sep } = vocabulary.special;
      const sourceIds = new Int32Array(cut - start + 2);
      sourceIds[0] = cls;
      for (let from = start, to = 1; from < cut; from++, to++) sourceIds[to] = tokens[from]!;
      sourceIds[sourceIds.length - 1] = sep;
      const decoderInputIds = new Int32Array(end - cut + 1);
      const targetIds = new Int32Array(end - cut + 1);
      decoderInputIds[0] = cls;
      for (let from = cut, to = 0; from < end; from++, to++) {
        targetIds[to] = tokens[from]!;
        decoderInputIds[to + 1] = tokens[from]!;
      }
      targetIds[targetIds.length - 1] = sep;
      if (!maskSource) {
        const none = new Int32Array(0);
        return { sourceIds, labelPositions: none, labels: none, decoderInputIds, targetIds };
      }
      const random = keyedRandom(seed, streamKey.stage2Masking, index);
      const { labelPositions, labels } = masking(sourceIds, random, false);
      return { sourceIds, labelPositions, labels, decoderInputIds, targetIds };
    },
  };
}

function checkRange(side: string, lowest: number, highest: number): void {
  checkInteger(`min${side}`, lowest, 1);
  checkInteger(`max${side}`, highest, 1);
  if (lowest > highest) {
    throw new ConfigError(
      `min${side} ${lowest} is above max${side} ${highest}: expected minimum ≤ maximum. Change minLength, ` +
        'maxLength or the setting of this side.',
    );
  }
}

/**
 * A pair of lengths, uniform among those of the ranges that fit the document together: pairs are drawn from the
 * ranges, cut to what can fit at all, until one fits (at once in a long document, at least half the time in any).
 */
function drawLengths(
  lengths: Lengths,
  length: number,
  random: RandomStream,
): { source: number; target: number } {
  const { minSource, minTarget } = lengths;
  const longestSource = Math.min(lengths.maxSource, length - minTarget);
  const longestTarget = Math.min(lengths.maxTarget, length - minSource);
  for (;;) {
    const source = random.integer(minSource, longestSource);
    const target = random.integer(minTarget, longestTarget);
    if (source + target <= length) return { source, target };
  }
}

/** The mean of source + target over the pairs that fit a document, by its length. */
function meanTokensRead({ minSource, maxSource, minTarget, maxTarget }: Lengths): (length: number) => number {
  const known = new Map<number, number>();
  return (documentLength) => {
    const length = Math.min(documentLength, maxSource + maxTarget);
    let mean = known.get(length);
    if (mean === undefined) {
      let pairs = 0;
      let tokens = 0;
      for (let source = minSource; source <= Math.min(maxSource, length - minTarget); source++) {
        const longestTarget = Math.min(maxTarget, length - source);
        const targets = longestTarget - minTarget + 1;
        pairs += targets;
        tokens += targets * (source + (minTarget + longestTarget) / 2);
      }
      mean = tokens / pairs;
      known.set(length, mean);
    }
    return mean;
  };
}

/** The last sentence start in [lowest, cut], else the first in (cut, highest], else the cut itself. */
function moveToSentence(starts: ArrayLike<number>, cut: number, lowest: number, highest: number): number {
  const after = firstStartAtOrAfter(starts, cut + 1);
  const before = after > 0 ? starts[after - 1]! : -1;
  if (before >= lowest) return before;
  return after < starts.length && starts[after]! <= highest ? starts[after]! : cut;
}
