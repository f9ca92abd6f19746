// Text that ends before the first of some strings. What may be the beginning of one is held back until it is known.

export class StopText {
  readonly #stops: readonly string[];
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** @returns what may be shown by now, and whether a stop was found: then nothing more comes */
  push(piece: string): { text: string; isStopped: boolean } {
    const text = this.#held + piece;
    const found = this.#stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.#held = '';
      return { text: text.slice(0, Math.min(...found)), isStopped: true };
    }
    const numHeld = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - numHeld);
    return { text: text.slice(0, text.length - numHeld), isStopped: false };
  }

  /** What was held back, once no more text comes. */
  end(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }
}

/** Length of the longest end of `text` that is a beginning of `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--)
    if (text.endsWith(stop.slice(0, length))) return length;
  return 0;
}
