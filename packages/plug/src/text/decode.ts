// Ids to text. A WordPiece id does not say whether a space stood before it, so the text follows rules:
//   - `##` pieces join the token before them;
//   - a space stands between two words of an alphabet (Latin words, numbers, kana, hangul), since without
//     white space between them they would have been one word;
//   - no space touches an ideograph or punctuation outside ASCII (，。“”…);
//   - ASCII punctuation follows English habit between words: "a, b (c) d", but 3.14, 1,000, 12:30, a-b, x/y
//     without spaces; straight double quotes open and close by turns.
// For ids that came from a text without unknown or special tokens, encoding the result gives the same ids.
import { TokenizerError } from '../errors.js';
import { hasProperty, isIdeograph } from './unicode-properties.js';
import { CONTINUATION } from './word-piece.js';

// The kinds of the characters at which tokens meet.
const WORD = 0;
const IDEOGRAPHIC = 1; // ideographs and punctuation outside ASCII
const ASCII_PUNCTUATION = 2;

const CLOSING = new Set([...',.!?;:%)]}']);
const OPENING = new Set([...'([{$']);
const BETWEEN_DIGITS = new Set([...',.:']);

interface DecodedToken {
  text: string;
  continues: boolean;
  firstKind: number;
  lastKind: number;
}

/** Turns ids of one vocabulary into text. */
export class TokenDecoder {
  readonly #tokens: readonly DecodedToken[];
  readonly #specialIds: ReadonlySet<number>;

  constructor(tokens: readonly string[], specialIds: ReadonlySet<number>) {
    this.#specialIds = specialIds;
    this.#tokens = tokens.map((token, id) => {
      const continues = token.length > CONTINUATION.length && token.startsWith(CONTINUATION);
      const text = continues ? token.slice(CONTINUATION.length) : token;
      if (specialIds.has(id)) return { text, continues: false, firstKind: WORD, lastKind: WORD };
      const characters = [...text];
      return {
        text,
        continues,
        firstKind: kindOf(characters[0] as string),
        lastKind: kindOf(characters.at(-1) as string),
      };
    });
  }

  /** @throws TokenizerError for an id outside the vocabulary, whichever its position. */
  decode(ids: ArrayLike<number>, skipSpecialTokens: boolean): string {
    let text = '';
    let previous: DecodedToken | undefined;
    let beforePrevious: DecodedToken | undefined;
    let insideQuotes = false;
    for (let position = 0; position < ids.length; position++) {
      const id = ids[position] as number;
      const token = this.#tokens[id];
      if (token === undefined) {
        throw new TokenizerError(
          `id ${id} at position ${position} is outside the vocabulary of ${this.#tokens.length} entries ` +
            `(ids 0 to ${this.#tokens.length - 1}); was the text encoded with another vocabulary?`,
        );
      }
      if (skipSpecialTokens && this.#specialIds.has(id)) continue;
      if (
        previous !== undefined &&
        !token.continues &&
        isSpaced(previous, token, beforePrevious, insideQuotes)
      ) {
        text += ' ';
      }
      text += token.text;
      if (token.text === '"') insideQuotes = !insideQuotes;
      beforePrevious = previous;
      previous = token;
    }
    return text;
  }
}

function kindOf(character: string): number {
  const codePoint = character.codePointAt(0) as number;
  if (isIdeograph(codePoint)) return IDEOGRAPHIC;
  if (!hasProperty('punctuation', codePoint)) return WORD;
  return codePoint < 0x80 ? ASCII_PUNCTUATION : IDEOGRAPHIC;
}

/** Whether a space stands between two tokens of which the right one starts a word. */
function isSpaced(
  left: DecodedToken,
  right: DecodedToken,
  beforeLeft: DecodedToken | undefined,
  insideQuotes: boolean,
): boolean {
  if (left.lastKind === IDEOGRAPHIC || right.firstKind === IDEOGRAPHIC) return false;
  if (left.lastKind === WORD && right.firstKind === WORD) return true;
  if (right.firstKind === ASCII_PUNCTUATION) {
    // `insideQuotes` tells the state before `right`: a quote outside quotes opens.
    const opens = OPENING.has(right.text) || (right.text === '"' && !insideQuotes);
    const leftEnds = left.lastKind === WORD || CLOSING.has(left.text) || (left.text === '"' && !insideQuotes);
    return opens && leftEnds;
  }
  if (left.text === '"') return !insideQuotes && beforeLeft?.lastKind !== IDEOGRAPHIC;
  if (!CLOSING.has(left.text) || beforeLeft?.lastKind === IDEOGRAPHIC) return false;
  const joinsDigits =
    BETWEEN_DIGITS.has(left.text) &&
    beforeLeft !== undefined &&
    /[0-9]$/.test(beforeLeft.text) &&
    /^[0-9]/.test(right.text);
  return !joinsDigits;
}
