// The text of a token stream in pieces: what each new token adds to the text of all tokens before it. Later tokens
// never change earlier text, so the pieces joined are the whole decoded text.
import type { Tokenizer } from '../text/index.js';

export class TextPieces {
  readonly #tokenizer: Tokenizer;
  readonly #ids: number[] = [];
  #text = '';

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** What `id` adds: a character, a piece of a word, a space and a word; nothing for a special token. */
  push(id: number): string {
    this.#ids.push(id);
    const text = this.#tokenizer.decode(this.#ids);
    const piece = text.slice(this.#text.length);
    this.#text = text;
    return piece;
  }
}
