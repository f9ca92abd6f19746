// Samples of stage 1 (StructBERT, arXiv 1908.04577): [CLS] A [SEP] B [SEP] with masked tokens, shuffled
// trigrams, and one of three answers to how A and B belong together.
import { ConfigError, CorpusError } from '../../errors.js';
import { keyedRandom, type RandomStream } from '../../random.js';
import { type Anchor, type AnchorPlan, planAnchors } from './anchors.js';
import type { SampleLengths } from './batches.js';
import type { CorpusView, DocumentView, VocabularyView } from './corpus-view.js';
import { createMasking, type Labels, type MaskingSettings } from './masking.js';
import { streamKey } from './random-streams.js';
import {
  hasInnerSentence,
  type Span,
  splitDocument,
  textFromSentenceStart,
  textToSentenceEnd,
} from './sentence-pair.js';
import { checkInteger, checkProbability } from './settings-checks.js';

/** 0: B follows A. 1: B precedes A. 2: B is from another document. */
export type SentenceLabel = 0 | 1 | 2;

/** `inputIds` after damage; the labels restore the original. Token types are 0 up to the first [SEP]. */
export interface Stage1Sample extends Labels {
  inputIds: Int32Array;
  tokenTypeIds: Uint8Array;
  sentenceLabel: SentenceLabel;
}

export interface Stage1Settings extends MaskingSettings {
  seed: number;
  /** Tokens in a sequence at most, [CLS] and both [SEP] included. At least 5. */
  maxLength: number;
  /**
   * Share of samples whose length limit is drawn uniformly from 5 to `maxLength`, so that the model also sees
   * short texts; all others are as long as their documents allow. Default 0.1.
   */
  shortSequenceProbability?: number;
}

export interface Stage1Sampler extends SampleLengths {
  /** The sample of this index, a pure function of (corpus, settings, index). */
  sample(index: number): Stage1Sample;
}

const numSpecials = 3;
// After so many draws without luck, documents that can be split are rare: look through them in turn instead.
const drawsBeforeScan = 64;

/** One text of a pair, before it is copied. */
interface Text {
  document: DocumentView;
  span: Span;
}

/**
 * The class of a sample is drawn first, uniformly, and then documents that suit it; so the classes are uniform
 * in any corpus. The document of A comes from the epoch's anchors (see `planAnchors`); if the class needs
 * neighbouring texts and the document is a single sentence, another one is drawn in proportion to length. The
 * random text of class 2 is cut like the neighbour it replaces (same length where its document allows, same
 * kind of ends), so that lengths and cuts do not give the class away.
 *
 * @throws ConfigError on a setting out of range.
 * @throws CorpusError if there are fewer than two documents with text, or none with two sentences.
 */
export function createStage1Sampler(
  corpus: CorpusView,
  vocabulary: VocabularyView,
  settings: Stage1Settings,
): Stage1Sampler {
  const { seed, maxLength, shortSequenceProbability = 0.1 } = settings;
  if (!(maxLength >= numSpecials + 2)) {
    throw new ConfigError(
      `maxLength is ${maxLength}: a pair needs at least ${numSpecials + 2} tokens ([CLS] A [SEP] B [SEP]). ` +
        'Raise maxLength.',
    );
  }
  checkInteger('maxLength', maxLength, numSpecials + 2);
  checkProbability('shortSequenceProbability', shortSequenceProbability);
  const masking = createMasking(vocabulary, settings);
  const fullBudget = maxLength - numSpecials;
  const anchors = planAnchors({
    seed,
    stage: 1,
    numDocuments: corpus.numDocuments,
    weightOf: (document) => corpus.documentLength(document),
    tokensRead: (length) => Math.min(length, fullBudget),
  });
  checkDocuments(corpus);

  /** What a sample consists of. The draws are continued by the masking. */
  function planPair(index: number): {
    random: RandomStream;
    label: SentenceLabel;
    first: Text;
    second: Text;
  } {
    const random = keyedRandom(seed, streamKey.stage1Sample, index);
    const label = random.integer(0, 2) as SentenceLabel;
    const short = random.uniform() < shortSequenceProbability;
    const budget = short ? random.integer(2, fullBudget) : fullBudget;
    const anchor = anchors.at(index);
    const pair =
      label === 2
        ? pairAcrossDocuments(corpus, anchors, anchor, budget, random)
        : pairInDocument(corpus, anchors, anchor, budget, random, label === 1);
    return { random, label, ...pair };
  }

  return {
    samplesPerEpoch: anchors.samplesPerEpoch,
    maxSampleTokens: maxLength,
    lengthOf(index) {
      const { first, second } = planPair(index);
      return { source: spanLength(first) + spanLength(second) + numSpecials, target: 0 };
    },
    sample(index) {
      const { random, label, first, second } = planPair(index);
      const { cls, sep } = vocabulary.special;
      const secondStart = spanLength(first) + 2;
      const inputIds = new Int32Array(secondStart + spanLength(second) + 1);
      inputIds[0] = cls;
      copyText(first, inputIds, 1);
      inputIds[secondStart - 1] = sep;
      copyText(second, inputIds, secondStart);
      inputIds[inputIds.length - 1] = sep;
      const tokenTypeIds = new Uint8Array(inputIds.length).fill(1, secondStart);
      return { inputIds, tokenTypeIds, sentenceLabel: label, ...masking(inputIds, random, true) };
    },
  };
}

function checkDocuments(corpus: CorpusView): void {
  let withText = 0;
  let canSplit = false;
  for (let i = 0; i < corpus.numDocuments && !(withText >= 2 && canSplit); i++) {
    if (corpus.documentLength(i) === 0) continue;
    withText++;
    canSplit ||= hasInnerSentence(corpus.document(i));
  }
  if (withText < 2) {
    throw new CorpusError(
      'The corpus has a single document with text: random pairs need at least two. Add documents.',
    );
  }
  if (!canSplit) {
    throw new CorpusError(
      `None of the ${corpus.numDocuments} documents has two sentences: pairs of neighbouring texts need one that ` +
        'does. Check the sentence splitting, or join short texts into longer documents.',
    );
  }
}

/** Classes 0 and 1: two texts that meet, in the order of the document or swapped. */
function pairInDocument(
  corpus: CorpusView,
  anchors: AnchorPlan,
  anchor: Anchor,
  budget: number,
  random: RandomStream,
  swapped: boolean,
): { first: Text; second: Text } {
  let { document: number, fraction } = anchor;
  let document = corpus.document(number);
  for (let draws = 0; !hasInnerSentence(document); draws++) {
    if (draws < drawsBeforeScan) ({ document: number, fraction } = anchors.draw(random));
    else number = (number + 1) % corpus.numDocuments;
    document = corpus.document(number);
  }
  const { left, right } = splitDocument(document, fraction, budget, random);
  const before = { document, span: left };
  const after = { document, span: right };
  return swapped ? { first: after, second: before } : { first: before, second: after };
}

/** Class 2: one text of a split, and from another document a text cut as its neighbour was. */
function pairAcrossDocuments(
  corpus: CorpusView,
  anchors: AnchorPlan,
  anchor: Anchor,
  budget: number,
  random: RandomStream,
): { first: Text; second: Text } {
  const document = corpus.document(anchor.document);
  const firstIsLeft = random.integer(0, 1) === 0;
  let span: Span;
  let otherLength: number;
  if (hasInnerSentence(document)) {
    const { left, right } = splitDocument(document, anchor.fraction, budget, random);
    span = firstIsLeft ? left : right;
    otherLength = spanLength({ span: firstIsLeft ? right : left });
  } else {
    const length = document.tokens.length;
    const kept = Math.min(length, Math.floor(budget / 2));
    span = firstIsLeft ? { start: length - kept, end: length } : { start: 0, end: kept };
    otherLength = budget - kept;
  }
  const other = anchors.draw(random, anchor.document);
  const otherDocument = corpus.document(other.document);
  const cut = firstIsLeft ? textFromSentenceStart : textToSentenceEnd;
  return {
    first: { document, span },
    second: { document: otherDocument, span: cut(otherDocument, other.fraction, otherLength) },
  };
}

function spanLength({ span }: { span: Span }): number {
  return span.end - span.start;
}

function copyText({ document, span }: Text, ids: Int32Array, at: number): void {
  const { tokens } = document;
  for (let from = span.start, to = at; from < span.end; from++, to++) ids[to] = tokens[from]!;
}
