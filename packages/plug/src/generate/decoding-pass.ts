// One run of the decoder over a batch of sources: they are encoded once, then every step feeds one token for
// each row. Owns the caches, and lets go of them at once when the signal is aborted.
import { noGrad, scope, type Tensor } from '@openplug/torch';
import type { DecoderCache, ForwardOptions, PlugModel } from '../model/index.js';
import { type Source, sourceBatch } from './sources.js';

/** Decoding of some rows in lockstep; `start` it before the first step. */
export class DecodingPass implements Disposable {
  readonly #model: PlugModel;
  readonly #forward: ForwardOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #release = (): void => {
    this.#cache?.[Symbol.dispose]();
    this.#cache = undefined;
  };
  #cache: DecoderCache | undefined;

  constructor(model: PlugModel, forward: ForwardOptions, signal: AbortSignal | undefined) {
    this.#model = model;
    this.#forward = forward;
    this.#signal = signal;
    // Steps are synchronous, so an abort never comes in the middle of one.
    signal?.addEventListener('abort', this.#release);
  }

  /**
   * Encodes the sources, one row each, for up to `maxLength` steps. Earlier rows are forgotten.
   * @throws the signal's reason once it is aborted
   */
  start(sources: readonly Source[], maxLength: number): void {
    this.#signal?.throwIfAborted();
    this.#release();
    this.#cache = noGrad(() =>
      scope(() => {
        const batch = sourceBatch(sources);
        const encoded = this.#model.encode(batch, this.#forward);
        return this.#model.startDecoding(encoded, batch.layout, maxLength, this.#forward);
      }),
    );
  }

  /**
   * Feeds the newest token of each row and hands the logits of the next one, [B, V], to `read`; they are gone
   * afterwards.
   * @throws the signal's reason once it is aborted
   */
  step<Result>(ids: readonly number[], read: (logits: Tensor) => Result): Result {
    this.#signal?.throwIfAborted();
    const cache = this.#cache!;
    return noGrad(() => scope(() => read(this.#model.nextLogits(ids, cache))));
  }

  /** Row i becomes what row `index[i]` was; rows that are not named are dropped. `numRows` is the present number. */
  reorder(index: readonly number[], numRows: number): void {
    if (index.length === numRows && index.every((from, to) => from === to)) return;
    scope(() => this.#cache!.reorder(index));
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener('abort', this.#release);
    this.#release();
  }
}
