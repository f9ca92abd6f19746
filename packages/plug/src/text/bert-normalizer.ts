// BERT's text normalisation and splitting into words: clean-up, ideographs set apart, accents stripped,
// lower case, punctuation set apart. Written here because the pure JavaScript @huggingface/tokenizers 0.2
// gives other ids than Hugging Face's own implementation (ideographs outside the BMP, final sigma, properties
// by the Unicode version of the engine), is quadratic in the length of a word, and half as fast as needed.
import { hasProperty, isIdeograph, isWhitespace } from './unicode-properties.js';

export interface NormalizationOptions {
  /** Lower case before looking words up. Default true, as in BERT-Chinese. */
  doLowerCase?: boolean;
  /** Strip accents (after canonical decomposition). Default: the same as doLowerCase. */
  stripAccents?: boolean;
  /** Make each ideograph a word. Default true. */
  tokenizeChineseChars?: boolean;
}

/** Receives the parts of a text in order; see BertNormalizer.scan. */
export interface ScanSink {
  /** A character that is a whole word by itself: an ideograph or a punctuation mark. */
  isolated(codePoint: number): void;
  /** The raw text between two separators (white space, isolated characters): give it to runToWords. */
  run(text: string, start: number, end: number): void;
}

// What a UTF-16 unit means for the split.
const IN_RUN = 0;
const SPACE = 1;
const ISOLATED = 2;
const HIGH_SURROGATE = 3;

const unitKindsByOptions = new Map<string, Uint8Array>();

/** Normalises and splits text exactly as Hugging Face's BertNormalizer followed by BertPreTokenizer. */
export class BertNormalizer {
  readonly doLowerCase: boolean;
  readonly stripAccents: boolean;
  readonly tokenizeChineseChars: boolean;
  readonly #unitKinds: Uint8Array;

  constructor(options: NormalizationOptions = {}) {
    this.doLowerCase = options.doLowerCase ?? true;
    this.stripAccents = options.stripAccents ?? this.doLowerCase;
    this.tokenizeChineseChars = options.tokenizeChineseChars ?? true;
    const key = `${this.doLowerCase} ${this.stripAccents} ${this.tokenizeChineseChars}`;
    let kinds = unitKindsByOptions.get(key);
    if (kinds === undefined) {
      kinds = this.#classifyUnits();
      unitKindsByOptions.set(key, kinds);
    }
    this.#unitKinds = kinds;
  }

  /**
   * The fast pass over a text: one table look-up a character for Chinese. Only runs (Latin words, numbers,
   * kana, anything unusual) take the exact, slow way through runToWords, and their results can be cached
   * by their raw text, since no rule reaches across white space or an isolated character.
   */
  scan(text: string, sink: ScanSink): void {
    const kinds = this.#unitKinds;
    const length = text.length;
    let runStart = 0;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      const kind = kinds[unit] as number;
      if (kind === IN_RUN) continue;
      let codePoint = unit;
      let end = index + 1;
      if (kind === HIGH_SURROGATE) {
        codePoint = text.codePointAt(index) as number;
        if (codePoint <= 0xffff || !this.tokenizeChineseChars || !isIdeograph(codePoint)) continue;
        end++;
      }
      if (runStart < index) sink.run(text, runStart, index);
      if (kind !== SPACE) sink.isolated(codePoint);
      runStart = end;
      index = end - 1;
    }
    if (runStart < length) sink.run(text, runStart, length);
  }

  /** The words of a piece of text that needs not be a run: the whole pipeline, character by character. */
  runToWords(run: string): string[] {
    const words: string[] = [];
    let word = '';
    const finishWord = () => {
      if (word !== '') words.push(word);
      word = '';
    };
    for (const character of this.normalize(run)) {
      const codePoint = character.codePointAt(0) as number;
      if (isWhitespace(codePoint)) finishWord();
      else if (hasProperty('punctuation', codePoint)) {
        finishWord();
        words.push(character);
      } else word += character;
    }
    finishWord();
    return words;
  }

  /** Normalised text; ideographs come out with a space on each side. Lone surrogates are dropped. */
  normalize(text: string): string {
    let cleaned = '';
    for (const character of text) {
      const codePoint = character.codePointAt(0) as number;
      if (isRemoved(codePoint)) continue;
      if (isWhitespace(codePoint)) cleaned += ' ';
      else if (this.tokenizeChineseChars && isIdeograph(codePoint)) cleaned += ` ${character} `;
      else cleaned += character;
    }
    if (this.stripAccents) cleaned = stripMarks(decompose(cleaned));
    if (!this.doLowerCase) return cleaned;
    // Character by character, as the reference does: no final sigma.
    let lower = '';
    for (const character of cleaned) lower += character.toLowerCase();
    return lower;
  }

  #classifyUnits(): Uint8Array {
    const kinds = new Uint8Array(0x10000);
    for (let unit = 0; unit < kinds.length; unit++) {
      if (unit >= 0xd800 && unit <= 0xdfff) {
        kinds[unit] = unit < 0xdc00 ? HIGH_SURROGATE : IN_RUN;
        continue;
      }
      if (isRemoved(unit)) continue;
      if (isWhitespace(unit)) kinds[unit] = SPACE;
      else if (this.tokenizeChineseChars && isIdeograph(unit)) kinds[unit] = ISOLATED;
      else {
        const normalized = this.normalize(String.fromCharCode(unit));
        const codePoint = normalized.codePointAt(0);
        if (codePoint !== undefined && normalized.length === 1 && hasProperty('punctuation', codePoint))
          kinds[unit] = ISOLATED;
      }
    }
    return kinds;
  }
}

/** Whether the clean-up drops this code point. Tab, line feed and carriage return are white space to it. */
function isRemoved(codePoint: number): boolean {
  // A lone surrogate has no UTF-8 form: it reaches the reference as U+FFFD, which is dropped.
  return (codePoint >= 0xd800 && codePoint <= 0xdfff) || hasProperty('removed', codePoint);
}

/** Canonical decomposition as the reference knows it, whatever newer characters the engine knows. */
function decompose(text: string): string {
  if (isAscii(text)) return text;
  let result = '';
  let known = '';
  for (const character of text) {
    const codePoint = character.codePointAt(0) as number;
    if (codePoint < 0x80 || hasProperty('decomposes', codePoint)) {
      known += character;
    } else {
      result += known.normalize('NFD') + character;
      known = '';
    }
  }
  return result + known.normalize('NFD');
}

function stripMarks(text: string): string {
  if (isAscii(text)) return text;
  let result = '';
  for (const character of text)
    if (!hasProperty('nonspacingMark', character.codePointAt(0) as number)) result += character;
  return result;
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}
