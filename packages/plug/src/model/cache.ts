// What incremental decoding remembers: the keys and values of earlier target tokens, and of the source; and the step
// itself as a program, since all steps of one batch run the same operators.
import { keep, nn, noGrad, Program, type Tensor, tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import type { Attend, KeysValues } from './attention.js';
import { indexTensor, type TextLayout } from './batch.js';
import type { ForwardOptions } from './forward.js';

/** What a step of decoding reads and adds to: see `PlugModel.nextLogits`. */
export interface StepCache {
  readonly options: ForwardOptions;
  /** The tokens of this step, int64 [B]. */
  readonly ids: Tensor;
  /** Their positions, int64 [B]. */
  readonly positionIds: Tensor;
  /** Zeros, int64 [B]. */
  readonly tokenTypeIds: Tensor;
  /** How the tokens of a step attend in one layer; those to themselves join the cache. */
  attention(layer: number): { toSelf: Attend; toSource: Attend };
  /**
   * Runs one step: `body` computes the logits of the tokens `ids` from this cache's tensors, and adds them to it. It is
   * called when the number of rows is new; other steps repeat its operators natively.
   * @throws ShapeError when the cache is full, or has another number of rows
   */
  step(ids: ArrayLike<number>, body: () => Tensor): Tensor;
}

/** Int64 [B] in memory that JavaScript writes to. */
export class Feed {
  readonly tensor: Tensor;
  readonly #values: BigInt64Array;

  constructor(count: number) {
    this.#values = new BigInt64Array(count);
    this.tensor = keep(tensor(this.#values, { share: true }));
  }

  fill(valueAt: (row: number) => number): void {
    for (let row = 0; row < this.#values.length; row++) this.#values[row] = BigInt(valueAt(row));
  }
}

/** Caches of all decoder layers for a batch whose rows advance together. Dispose of it after use. */
export class DecoderCache implements StepCache, Disposable {
  /** Of every step. */
  readonly options: ForwardOptions;
  readonly #maxLength: number;
  /** Cross-attention keys and values by layer; rows of the batch may share one. */
  readonly #memory: KeysValues[];
  /** Row of the memory that belongs to each row of the batch, int64 [B]. */
  #sources: Tensor;
  #own: nn.KeptTokens[];
  #ids: Feed;
  #positions: Feed;
  #tokenTypeIds: Tensor;
  #program: Program | undefined;
  #length = 0;

  /**
   * Takes ownership of the keys and values; `visible` is copied, as it belongs to the source's layout.
   * @param maxLength most target tokens that will be decoded
   */
  constructor(memory: readonly KeysValues[], source: TextLayout, maxLength: number, options: ForwardOptions) {
    const { numRows } = source;
    this.options = options;
    this.#maxLength = maxLength;
    const visible = keep(source.visible.clone());
    this.#memory = memory.map(({ keys, values }) => ({ keys: keep(keys), values: keep(values), visible }));
    this.#sources = keep(indexTensor(Array.from({ length: numRows }, (_, row) => row)));
    this.#own = memory.map(({ values }) => {
      const [, numHeads, , headSize] = values.shape as [number, number, number, number];
      const room = nn.emptyKeptTokens([numRows, numHeads, maxLength, headSize], values.dtype);
      return { keys: keep(room.keys), values: keep(room.values) };
    });
    this.#ids = new Feed(numRows);
    this.#positions = new Feed(numRows);
    this.#tokenTypeIds = keep(indexTensor(new Uint8Array(numRows)));
  }

  /** Target tokens held. */
  get length(): number {
    return this.#length;
  }

  /** Rows of the batch. */
  get numRows(): number {
    return this.#sources.shape[0]!;
  }

  get ids(): Tensor {
    return this.#ids.tensor;
  }

  get positionIds(): Tensor {
    return this.#positions.tensor;
  }

  get tokenTypeIds(): Tensor {
    return this.#tokenTypeIds;
  }

  step(ids: ArrayLike<number>, body: () => Tensor): Tensor {
    if (this.#length === this.#maxLength)
      throw new ShapeError(`The decoder cache holds ${this.#maxLength} tokens and is full.`);
    if (ids.length !== this.numRows)
      throw new ShapeError(`The decoder cache has ${this.numRows} rows, got ${ids.length} token ids.`);
    this.#ids.fill((row) => ids[row]!);
    this.#positions.fill(() => this.#length);
    const logits = this.#program ? this.#program.run() : this.#record(body);
    this.#length++;
    return logits;
  }

  attention(layer: number): { toSelf: Attend; toSource: Attend } {
    const memory = this.#memory[layer]!;
    const own = this.#own[layer]!;
    const scale = 1 / Math.sqrt(own.values.shape[3]!);
    return {
      toSelf: (projected) => nn.selfAttentionStep(projected, own, this.positionIds, scale),
      toSource: (query) => nn.crossAttentionStep(query, { ...memory, sources: this.#sources, scale }),
    };
  }

  /** Makes row i what row `index[i]` was (beam search, or dropping finished rows). */
  reorder(index: readonly number[]): void {
    const chosen = indexTensor(index);
    const isSameSize = index.length === this.numRows;
    noGrad(() => {
      const replaced = (old: Tensor): Tensor => {
        const next = old.indexSelect(0, chosen);
        if (isSameSize) return old.copy_(next); // the program reads the same tensors
        old.dispose();
        return keep(next);
      };
      const filled = (buffer: Tensor, length: number): Tensor => {
        if (!isSameSize) return replaced(buffer);
        replaced(buffer.narrow(2, 0, length));
        return buffer;
      };
      this.#sources = replaced(this.#sources);
      this.#own = this.#own.map(({ keys, values }) => ({
        keys: filled(keys, Math.ceil(this.#length / nn.keptGroup)),
        values: filled(values, this.#length),
      }));
    });
    if (isSameSize) return;
    this.#disposeStep();
    this.#ids = new Feed(index.length);
    this.#positions = new Feed(index.length);
    this.#tokenTypeIds = keep(indexTensor(new Uint8Array(index.length)));
  }

  #record(body: () => Tensor): Tensor {
    this.#program = noGrad(() => Program.record(body));
    return this.#program.firstResult;
  }

  #disposeStep(): void {
    this.#program?.[Symbol.dispose]();
    this.#program = undefined;
    for (const held of [this.#ids.tensor, this.#positions.tensor, this.#tokenTypeIds]) held.dispose();
  }

  [Symbol.dispose](): void {
    this.#disposeStep();
    this.#sources.dispose();
    for (const { keys, values } of [...this.#own, ...this.#memory]) {
      keys.dispose();
      values.dispose();
    }
    this.#memory[0]?.visible.dispose();
  }
}
