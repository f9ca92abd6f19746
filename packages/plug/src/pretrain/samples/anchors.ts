// Which document a sample is made from, and where in it. An epoch puts evenly spaced anchors on the whole
// corpus laid end to end, so that a document is visited in proportion to its length, and hands them out in a
// seeded order. All of it follows from (seed, index): no state.
import { CorpusError } from '../../errors.js';
import { keyedRandom, type RandomStream } from '../../random.js';
import { keyedPermutation } from './permutation.js';
import { streamKey, uniform53 } from './random-streams.js';

/** A place in the corpus: `fraction` in [0, 1) is how far into the document it lies. */
export interface Anchor {
  document: number;
  fraction: number;
}

export interface AnchorPlan {
  /** Tokens of the usable documents. */
  readonly numTokens: number;
  readonly samplesPerEpoch: number;
  /** The anchor of sample `index` (counted through all epochs). */
  at(index: number): Anchor;
  /** A uniformly drawn token of all usable documents but `excluded`. */
  draw(random: RandomStream, excluded?: number): Anchor;
}

export interface AnchorSettings {
  seed: number;
  /** Keeps the orders of the two stages apart. */
  stage: number;
  numDocuments: number;
  /** Tokens of a document; 0 for one that is not to be used. */
  weightOf(document: number): number;
  /** Tokens that a sample reads from a document of this length, on average. */
  tokensRead(length: number): number;
}

/**
 * An epoch has as many samples as read, in expectation, as many tokens as the usable documents hold. With n
 * samples and T tokens the anchors lie T/n apart, at a random phase drawn for each epoch: a document of length
 * L gets ⌊Ln/T⌋ or ⌈Ln/T⌉ visits, Ln/T in expectation, and the visits to a long document are spread over it.
 *
 * @throws CorpusError if there is no usable token.
 */
export function planAnchors(settings: AnchorSettings): AnchorPlan {
  const { seed, stage, numDocuments, weightOf, tokensRead } = settings;
  const ends = new Float64Array(numDocuments);
  let numTokens = 0;
  let weightedRead = 0;
  for (let document = 0; document < numDocuments; document++) {
    const length = weightOf(document);
    numTokens += length;
    ends[document] = numTokens;
    if (length > 0) weightedRead += length * tokensRead(length);
  }
  if (numTokens === 0) {
    throw new CorpusError(
      `The corpus has no usable token: ${numDocuments} documents, all of them empty or too short. ` +
        'Check the corpus folder, or lower the shortest length.',
    );
  }
  // Visits are in proportion to length, so the mean read per visit is weighted by length as well.
  const samplesPerEpoch = Math.max(1, Math.round(numTokens / (weightedRead / numTokens)));

  const startOf = (document: number): number => (document === 0 ? 0 : ends[document - 1]!);
  const locate = (token: number): Anchor => {
    let low = 0;
    let high = numDocuments - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ends[middle]! > token) high = middle;
      else low = middle + 1;
    }
    const start = startOf(low);
    // Rounding must not carry the quotient to 1, which would lie past the document.
    return { document: low, fraction: Math.min((token - start) / (ends[low]! - start), 1 - 2 ** -53) };
  };

  // The order of the epoch in use: derived from (seed, stage, epoch) alone, kept because indices come in runs.
  let cached = { epoch: -1, phase: 0, place: (index: number) => index };
  const orderOf = (epoch: number): typeof cached => {
    if (cached.epoch !== epoch) {
      const random = keyedRandom(seed, streamKey.anchorOrder, stage, epoch);
      cached = {
        epoch,
        phase: random.uniform(),
        place: keyedPermutation(samplesPerEpoch, random.nextUint32()),
      };
    }
    return cached;
  };

  return {
    numTokens,
    samplesPerEpoch,
    at(index) {
      const order = orderOf(Math.floor(index / samplesPerEpoch));
      const place = order.place(index % samplesPerEpoch) + order.phase;
      return locate(Math.min(place * (numTokens / samplesPerEpoch), numTokens * (1 - 2 ** -53)));
    },
    draw(random, excluded) {
      const without = excluded === undefined ? 0 : ends[excluded]! - startOf(excluded);
      const token = uniform53(random) * (numTokens - without);
      return locate(excluded !== undefined && token >= startOf(excluded) ? token + without : token);
    },
  };
}
