// Cuts the two texts of a stage 1 pair out of documents. Only offsets are worked out here, so that the length
// of a sample is known without building it.
import type { RandomStream } from '../../random.js';
import type { DocumentView } from './corpus-view.js';

/** Tokens [start, end) of a document. */
export interface Span {
  start: number;
  end: number;
}

/** Two texts of one document that meet: left.end = right.start, a sentence start. */
export interface Split {
  left: Span;
  right: Span;
}

/** True if a sentence starts inside the document, so that it can be split into two texts. */
export function hasInnerSentence({ tokens, sentenceStarts }: DocumentView): boolean {
  const inner = firstStartAtOrAfter(sentenceStarts, 1);
  return inner < sentenceStarts.length && sentenceStarts[inner]! < tokens.length;
}

/**
 * Takes whole sentences around a place until they hold `budget` tokens (or the document ends), splits them at a
 * uniformly drawn sentence start, and shortens both texts at their far ends until they fit the budget together:
 * the longer one first, as BERT does. `fraction` in [0, 1) says where in the document. A single sentence that
 * fills the budget alone is paired with the one before or after it.
 *
 * The document must satisfy `hasInnerSentence`, and `budget` be at least 2.
 */
export function splitDocument(
  document: DocumentView,
  fraction: number,
  budget: number,
  random: RandomStream,
): Split {
  const { sentenceStarts: starts } = document;
  const length = document.tokens.length;
  const first = sentenceAt(starts, windowStart(length, budget, fraction));
  let from = starts[first]!;
  const next = firstStartAtOrAfter(starts, from + budget);
  let to = next < starts.length ? Math.min(starts[next]!, length) : length;
  const lastInner = firstStartAtOrAfter(starts, to) - 1;

  let boundary: number;
  if (lastInner > first) {
    boundary = starts[random.integer(first + 1, lastInner)]!;
  } else if (to === length || (from > 0 && random.integer(0, 1) === 0)) {
    boundary = from;
    from = starts[sentenceAt(starts, boundary - 1)]!;
  } else {
    boundary = to;
    to = sentenceEnd(document, boundary);
  }
  const left = boundary - from;
  const right = to - boundary;
  const half = Math.floor(budget / 2);
  const keptLeft = left + right <= budget || left <= half ? left : Math.max(half, budget - right);
  const keptRight = Math.min(right, budget - keptLeft);
  return {
    left: { start: boundary - keptLeft, end: boundary },
    right: { start: boundary, end: boundary + keptRight },
  };
}

/** A text of up to `budget` tokens that starts with a sentence and is cut at its end, like a right text. */
export function textFromSentenceStart(document: DocumentView, fraction: number, budget: number): Span {
  const length = document.tokens.length;
  const { sentenceStarts } = document;
  const start = sentenceStarts[sentenceAt(sentenceStarts, windowStart(length, budget, fraction))]!;
  return { start, end: Math.min(length, start + budget) };
}

/** A text of up to `budget` tokens that ends with a sentence and is cut at its front, like a left text. */
export function textToSentenceEnd(document: DocumentView, fraction: number, budget: number): Span {
  const length = document.tokens.length;
  const lastToken = windowStart(length, budget, fraction) + Math.min(budget, length) - 1;
  const end = sentenceEnd(document, lastToken);
  return { start: Math.max(0, end - budget), end };
}

/** Start of a window of `size` tokens, spread evenly over the places that leave it full; 0 if none does. */
function windowStart(length: number, size: number, fraction: number): number {
  return length > size ? Math.floor(fraction * (length - size + 1)) : 0;
}

/** The number of the sentence that holds this token. */
function sentenceAt(starts: ArrayLike<number>, token: number): number {
  return firstStartAtOrAfter(starts, token + 1) - 1;
}

/** Where the sentence that holds this token ends. */
function sentenceEnd({ tokens, sentenceStarts }: DocumentView, token: number): number {
  const next = firstStartAtOrAfter(sentenceStarts, token + 1);
  return next < sentenceStarts.length ? Math.min(sentenceStarts[next]!, tokens.length) : tokens.length;
}

/** The first sentence whose start is `token` or later (binary search); the number of sentences if none is. */
export function firstStartAtOrAfter(starts: ArrayLike<number>, token: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! >= token) high = middle;
    else low = middle + 1;
  }
  return low;
}
