// Character properties exactly as Hugging Face's BERT normaliser sees them. They are committed as tables,
// not asked of the JavaScript engine, because the ids of a published vocabulary must not change with the
// Unicode version of the running Node: the tokenizers crate uses several, some of them older than Node's.
// The tables come from generate-unicode-tables.ts; its test compares every code point with the oracle.
import { UNICODE_RANGES } from './unicode-tables.generated.js';

export type PropertyName = keyof typeof UNICODE_RANGES;

/** A set of code points as sorted, disjoint ranges: [first, last, first, last, …], both ends included. */
export type CodePointRanges = readonly number[];

const NUM_CODE_POINTS = 0x110000;

/** Ranges as text: the distance of each boundary from the one before, in base 36, separated by spaces. */
export function packRanges(ranges: CodePointRanges): string {
  let previous = 0;
  return ranges
    .map((boundary) => {
      const distance = boundary - previous;
      previous = boundary;
      return distance.toString(36);
    })
    .join(' ');
}

/** The inverse of packRanges. */
export function unpackRanges(packed: string): CodePointRanges {
  let boundary = 0;
  return packed.split(' ').map((distance) => (boundary += Number.parseInt(distance, 36)));
}

/** The ranges of the code points for which `isMember` holds. Surrogates are left out: they are no characters. */
export function collectRanges(isMember: (codePoint: number) => boolean): CodePointRanges {
  const ranges: number[] = [];
  for (let codePoint = 0; codePoint < NUM_CODE_POINTS; codePoint++) {
    if ((codePoint >= 0xd800 && codePoint <= 0xdfff) || !isMember(codePoint)) continue;
    if (ranges.length > 0 && ranges[ranges.length - 1] === codePoint - 1)
      ranges[ranges.length - 1] = codePoint;
    else ranges.push(codePoint, codePoint);
  }
  return ranges;
}

/** Membership of a code point in sorted ranges, by binary search. */
export function inRanges(ranges: CodePointRanges, codePoint: number): boolean {
  let low = 0;
  let high = ranges.length / 2 - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (codePoint < (ranges[2 * middle] as number)) high = middle - 1;
    else if (codePoint > (ranges[2 * middle + 1] as number)) low = middle + 1;
    else return true;
  }
  return false;
}

const unpacked = new Map<PropertyName, CodePointRanges>();

/**
 * Whether a code point is
 * - `removed`: taken out by the clean-up (controls, format characters, private use, U+FFFD, NUL),
 * - `nonspacingMark`: taken out when accents are stripped,
 * - `punctuation`: a word of its own,
 * - `decomposes`: known to the normaliser's canonical decomposition, as a composed character or as a mark
 *   with a place in the canonical order.
 */
export function hasProperty(name: PropertyName, codePoint: number): boolean {
  let ranges = unpacked.get(name);
  if (ranges === undefined) {
    ranges = unpackRanges(UNICODE_RANGES[name]);
    unpacked.set(name, ranges);
  }
  return inRanges(ranges, codePoint);
}

/** The White_Space property, which Unicode no longer changes. */
export function isWhitespace(codePoint: number): boolean {
  if (codePoint < 0x85) return codePoint === 0x20 || (codePoint >= 0x09 && codePoint <= 0x0d);
  return (
    codePoint === 0x85 ||
    codePoint === 0xa0 ||
    codePoint === 0x1680 ||
    (codePoint >= 0x2000 && codePoint <= 0x200a) ||
    codePoint === 0x2028 ||
    codePoint === 0x2029 ||
    codePoint === 0x202f ||
    codePoint === 0x205f ||
    codePoint === 0x3000
  );
}

/**
 * The ideographs that BERT sets apart as one-character words (no kana, no hangul). The reference leaves out
 * the first 256 of Extension E (U+2B820 to U+2B91F), and so do we: the ids must be the same.
 */
export function isIdeograph(codePoint: number): boolean {
  if (codePoint < 0x3400) return false;
  return (
    (codePoint >= 0x4e00 && codePoint <= 0x9fff) ||
    codePoint <= 0x4dbf ||
    (codePoint >= 0xf900 && codePoint <= 0xfaff) ||
    (codePoint >= 0x20000 && codePoint <= 0x2a6df) ||
    (codePoint >= 0x2a700 && codePoint <= 0x2b81f) ||
    (codePoint >= 0x2b920 && codePoint <= 0x2ceaf) ||
    (codePoint >= 0x2f800 && codePoint <= 0x2fa1f)
  );
}

/** Order by code point of well-formed text (the order of UTF-16 units puts Ext-B before full-width forms). */
export function compareByCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const unitA = a.charCodeAt(index);
    const unitB = b.charCodeAt(index);
    if (unitA === unitB) continue;
    const aIsSurrogate = unitA >= 0xd800 && unitA <= 0xdfff;
    const bIsSurrogate = unitB >= 0xd800 && unitB <= 0xdfff;
    return aIsSurrogate === bIsSurrogate ? unitA - unitB : aIsSurrogate ? 1 : -1;
  }
  return a.length - b.length;
}
