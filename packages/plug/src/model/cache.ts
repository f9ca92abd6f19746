// What incremental decoding remembers: the keys and values of earlier target tokens, and of the source.
import { empty, keep, noGrad, type Tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import type { KeysValues } from './attention.js';

/** Caches of all decoder layers for a batch whose rows advance together. Dispose of it after use. */
export class DecoderCache implements Disposable {
  /** Cross-attention keys and values by layer. */
  readonly memory: KeysValues[];
  readonly #maxLength: number;
  readonly #layers: { keys: Tensor; values: Tensor }[] = [];
  #length = 0;

  /**
   * Takes ownership of the keys and values; `visible` is copied, as it belongs to the source's layout.
   * @param maxLength most target tokens that will be decoded
   */
  constructor(memory: KeysValues[], maxLength: number) {
    this.memory = memory;
    this.#maxLength = maxLength;
    const visible = memory[0]?.visible && keep(memory[0].visible.clone());
    for (const layer of memory) {
      keep(layer.keys);
      keep(layer.values);
      layer.visible = visible;
    }
  }

  /** Target tokens held. */
  get length(): number {
    return this.#length;
  }

  /** Adds [B, H, T, D] of `layer` after the earlier ones, and gives all of them as views. */
  append(layer: number, keys: Tensor, values: Tensor): KeysValues {
    const [numRows, numHeads, added, headSize] = keys.shape as [number, number, number, number];
    const total = this.#length + added;
    if (total > this.#maxLength)
      throw new ShapeError(`The decoder cache holds ${this.#maxLength} tokens, got ${total}.`);
    const buffer = (): Tensor => keep(empty([numRows, numHeads, this.#maxLength, headSize], keys.dtype));
    this.#layers[layer] ??= { keys: buffer(), values: buffer() };
    const held = this.#layers[layer]!;
    return noGrad(() => {
      held.keys.narrow(2, this.#length, added).copy_(keys);
      held.values.narrow(2, this.#length, added).copy_(values);
      return {
        keys: held.keys.narrow(2, 0, total),
        values: held.values.narrow(2, 0, total),
        visible: undefined,
      };
    });
  }

  /** Called once all layers have appended. */
  advance(added: number): void {
    this.#length += added;
  }

  /** Makes row i a copy of row `index[i]` (beam search, or dropping finished rows). */
  reorder(index: Tensor): void {
    const replace = (old: Tensor): Tensor => {
      const chosen = keep(old.indexSelect(0, index));
      old.dispose();
      return chosen;
    };
    for (const held of this.#layers) {
      held.keys = replace(held.keys);
      held.values = replace(held.values);
    }
    const visible = this.memory[0]?.visible && replace(this.memory[0].visible);
    for (const memory of this.memory) {
      memory.keys = replace(memory.keys);
      memory.values = replace(memory.values);
      memory.visible = visible;
    }
  }

  [Symbol.dispose](): void {
    for (const { keys, values } of [...this.#layers, ...this.memory]) {
      keys.dispose();
      values.dispose();
    }
    this.memory[0]?.visible?.dispose();
  }
}
