// Sentence splitting for Chinese text with Latin in it. Nothing is removed or changed: the sentences, put
// together again, are the text.

/** Marks that always end a sentence. The ellipsis is here because Chinese puts no full stop after it. */
const fullStops = new Set('。！？；…｡．');
/** Marks that end a sentence only before white space or at the end, since 3.14 and a.b are not ends. */
const halfStops = new Set('.!?');
/** Marks that belong to the sentence that they close. */
const closers = new Set('”’」』）】》〉〕］｝"\')]}〞»');

const digit = /^[0-9０-９]$/;

/**
 * Splits at 。！？；… and at .!? before white space, and at line ends. Closing quotes and brackets stay with the
 * sentence that they close, white space stays with the sentence before it.
 *
 * @returns the sentences in order; joined without a separator they equal `text`. Empty for an empty text.
 */
export function splitSentences(text: string): string[] {
  const sentences: string[] = [];
  let start = 0;
  let position = 0;
  while (position < text.length) {
    const end = sentenceEnd(text, position);
    if (end === 0) {
      position++;
      continue;
    }
    position = skipWhile(text, end, isSpace);
    // A mark with nothing but white space before it opens no sentence of its own.
    if (text.slice(start, position).trim() !== '') {
      sentences.push(text.slice(start, position));
      start = position;
    }
  }
  if (start < text.length) {
    const rest = text.slice(start);
    if (rest.trim() === '' && sentences.length > 0) sentences[sentences.length - 1] += rest;
    else sentences.push(rest);
  }
  return sentences;
}

/** The end of the run of closing marks that begins at `position`, or 0 if no sentence ends there. */
function sentenceEnd(text: string, position: number): number {
  const character = text[position]!;
  if (character === '\n' || character === '\u2028' || character === '\u2029') return position + 1;
  const isFull = fullStops.has(character) && !isNumberPoint(text, position);
  if (!isFull && !halfStops.has(character)) return 0;
  let end = skipWhile(text, position, (mark) => fullStops.has(mark) || halfStops.has(mark));
  const stops = text.slice(position, end);
  end = skipWhile(text, end, (mark) => closers.has(mark));
  const always = isFull || [...stops].some((mark) => fullStops.has(mark));
  if (always || end === text.length || isSpace(text[end]!)) return end;
  return 0;
}

/** A full-width ．is a decimal point between digits and a full stop elsewhere. */
function isNumberPoint(text: string, position: number): boolean {
  if (text[position] !== '．') return false;
  return digit.test(text[position - 1] ?? '') && digit.test(text[position + 1] ?? '');
}

function skipWhile(text: string, from: number, test: (character: string) => boolean): number {
  let position = from;
  while (position < text.length && test(text[position]!)) position++;
  return position;
}

function isSpace(character: string): boolean {
  return character === ' ' || (character.trim() === '' && character !== '');
}
