// The two ways of damaging a text that the encoder must repair: masked tokens (Devlin et al. 2019) and shuffled
// trigrams (StructBERT, arXiv 1908.04577, section 2.2). Both stages use these functions.
import { ConfigError } from '../../errors.js';
import type { RandomStream } from '../../random.js';
import type { VocabularyView } from './corpus-view.js';
import { roundAtRandom } from './random-streams.js';
import { checkInteger, checkProbability } from './settings-checks.js';

export interface MaskingSettings {
  /** Share of the text tokens that the masked LM predicts. Default 0.15. */
  maskProbability?: number;
  /** Of the chosen tokens, the share that becomes [MASK]. Default 0.8. */
  maskTokenShare?: number;
  /** Of the chosen tokens, the share that becomes a random token; the rest stays as it is. Default 0.1. */
  randomTokenShare?: number;
  /** Share of the trigrams that is shuffled (see `shuffleTrigrams`). Default 0.05. */
  trigramProbability?: number;
  /** Tokens in a "trigram", K in the paper. Default 3. */
  trigramLength?: number;
}

/** Why a position has a label: chosen by the masked LM, or part of a shuffled trigram. */
export const labelKind = { masked: 0, wordOrder: 1 } as const;

export interface Labels {
  /** Ascending positions in the sequence. */
  labelPositions: Int32Array;
  /** The original id at each of them. */
  labels: Int32Array;
  /** A `labelKind` for each of them. */
  labelKinds: Uint8Array;
}

/** Damages one sequence in place and returns what to restore. */
export type Masking = (ids: Int32Array, random: RandomStream, withTrigrams: boolean) => Labels;

// What became of each position of a sequence.
const role = { free: 0, special: 1, masked: 2, wordOrder: 3 } as const;

/**
 * The masking that these settings describe. In a sequence, every id but [PAD], [CLS], [SEP] and [MASK] counts
 * as text ([UNK] does: it stands for a character of the text).
 *
 * @throws ConfigError on a setting out of range, or a vocabulary without a single ordinary token.
 */
export function createMasking(vocabulary: VocabularyView, settings: MaskingSettings = {}): Masking {
  const { maskProbability = 0.15, maskTokenShare = 0.8, randomTokenShare = 0.1 } = settings;
  const { trigramProbability = 0.05, trigramLength = 3 } = settings;
  for (const [name, value] of Object.entries({
    maskProbability,
    maskTokenShare,
    randomTokenShare,
    trigramProbability,
  })) {
    checkProbability(name, value);
  }
  if (maskTokenShare + randomTokenShare > 1 + 1e-12) {
    throw new ConfigError(
      `maskTokenShare ${maskTokenShare} and randomTokenShare ${randomTokenShare} add up to more than 1: ` +
        'lower one of them.',
    );
  }
  checkInteger('trigramLength', trigramLength, 2, 16);
  const drawToken = ordinaryTokens(vocabulary);
  const { pad, cls, sep, mask } = vocabulary.special;

  return (ids, random, withTrigrams) => {
    const original = ids.slice();
    const roles = new Uint8Array(ids.length);
    for (let position = 0; position < ids.length; position++) {
      const id = ids[position]!;
      if (id === cls || id === sep || id === mask || id === pad) roles[position] = role.special;
    }
    for (const position of chooseMasked(roles, maskProbability, random)) {
      roles[position] = role.masked;
      const fate = random.uniform();
      if (fate < maskTokenShare) ids[position] = mask;
      else if (fate < maskTokenShare + randomTokenShare) ids[position] = drawToken(random);
    }
    if (withTrigrams) shuffleTrigrams(ids, roles, trigramProbability, trigramLength, random);
    return collectLabels(original, roles);
  };
}

/** Draws ids uniformly from the real vocabulary without its five special tokens. */
function ordinaryTokens(vocabulary: VocabularyView): (random: RandomStream) => number {
  const specials = [...new Set(Object.values(vocabulary.special))].sort((a, b) => a - b);
  const numOrdinary = vocabulary.vocabSize - specials.filter((id) => id < vocabulary.vocabSize).length;
  if (numOrdinary < 1) {
    throw new ConfigError(
      `The vocabulary has ${vocabulary.vocabSize} entries, none of them ordinary: expected at least one token ` +
        'beside the special ones. Check vocab.txt.',
    );
  }
  return (random) => {
    let id = random.integer(0, numOrdinary - 1);
    for (const special of specials) if (id >= special) id++;
    return id;
  };
}

/** `share` of the free positions, rounded at random so that the expectation is exact, without replacement. */
function chooseMasked(roles: Uint8Array, share: number, random: RandomStream): Int32Array {
  const free = new Int32Array(roles.length);
  let numFree = 0;
  for (let position = 0; position < roles.length; position++) {
    if (roles[position] === role.free) free[numFree++] = position;
  }
  return chooseWithoutReplacement(free.subarray(0, numFree), roundAtRandom(share * numFree, random), random);
}

/**
 * The word-structural objective. "5 % of the trigrams" means here: each maximal run of r neighbouring text
 * tokens that the masked LM did not choose (a special token ends a run) is tiled with ⌊r/K⌋ disjoint trigrams,
 * starting 0 to r mod K tokens into the run, uniformly drawn. Of the T trigrams of the whole sequence, 0.05·T
 * (rounded at random so that the expectation is exact) are drawn without replacement, and the tokens of each
 * are put in another order, uniformly drawn among the K! − 1 that are not the identity. All K positions get
 * labels, also one whose token stayed. (Equal tokens can make another order look the same; such a trigram
 * still counts.)
 */
function shuffleTrigrams(
  ids: Int32Array,
  roles: Uint8Array,
  share: number,
  length: number,
  random: RandomStream,
): void {
  const starts = new Int32Array(Math.ceil(roles.length / length));
  let numTrigrams = 0;
  for (let position = 0; position < roles.length; ) {
    const runStart = position;
    while (position < roles.length && roles[position] === role.free) position++;
    const runLength = position - runStart;
    if (runLength >= length) {
      const first = runStart + random.integer(0, runLength % length);
      for (let start = first; start + length <= position; start += length) starts[numTrigrams++] = start;
    }
    position++; // past the token that ended the run
  }
  const trigrams = starts.subarray(0, numTrigrams);
  const order = new Uint8Array(length);
  for (const start of chooseWithoutReplacement(
    trigrams,
    roundAtRandom(share * numTrigrams, random),
    random,
  )) {
    do {
      for (let place = 0; place < length; place++) order[place] = place;
      random.shuffle(order);
    } while (order.every((from, place) => from === place));
    const tokens = ids.slice(start, start + length);
    for (let place = 0; place < length; place++) {
      ids[start + place] = tokens[order[place]!]!;
      roles[start + place] = role.wordOrder;
    }
  }
}

/** `count` of the items, each subset equally likely: the head of a Fisher–Yates shuffle, in place. */
function chooseWithoutReplacement(items: Int32Array, count: number, random: RandomStream): Int32Array {
  const chosen = Math.min(count, items.length);
  for (let place = 0; place < chosen; place++) {
    const other = random.integer(place, items.length - 1);
    const held = items[place]!;
    items[place] = items[other]!;
    items[other] = held;
  }
  return items.subarray(0, chosen);
}

function collectLabels(original: Int32Array, roles: Uint8Array): Labels {
  let count = 0;
  for (const value of roles) if (value >= role.masked) count++;
  const labelPositions = new Int32Array(count);
  const labels = new Int32Array(count);
  const labelKinds = new Uint8Array(count);
  let next = 0;
  for (let position = 0; position < roles.length; position++) {
    if (roles[position]! < role.masked) continue;
    labelPositions[next] = position;
    labels[next] = original[position]!;
    labelKinds[next] = roles[position] === role.masked ? labelKind.masked : labelKind.wordOrder;
    next++;
  }
  return { labelPositions, labels, labelKinds };
}
