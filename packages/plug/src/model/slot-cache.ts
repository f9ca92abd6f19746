// A cache of decoding whose rows begin and end at different times, as a server needs it. Rows 0 to B − 1 are in use;
// one that ends is replaced by the last. What a step runs is recorded once for each number of rows.
import { keep, nn, noGrad, Program, type Tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import type { Attend, KeysValues } from './attention.js';
import type { TextLayout } from './batch.js';
import { Feed, type StepCache } from './cache.js';
import { decoderConfig, type PlugConfig } from './config.js';
import type { ForwardOptions } from './forward.js';

/** A step of one number of rows: its part of all tensors, and its program once it has run. */
interface StepOfRows {
  readonly ids: Tensor;
  readonly positionIds: Tensor;
  readonly tokenTypeIds: Tensor;
  readonly sources: Tensor;
  readonly own: readonly nn.KeptTokens[];
  program?: Program;
}

/** Caches of all decoder layers for up to `numSlots` texts. Dispose of it after use. */
export class SlotCache implements StepCache, Disposable {
  readonly options: ForwardOptions;
  readonly numSlots: number;
  /** Most tokens of a source, and of what is written after it. */
  readonly maxLength: number;
  readonly #own: readonly nn.KeptTokens[];
  readonly #memory: readonly nn.KeptTokens[];
  readonly #ids: Feed;
  readonly #positions: Feed;
  readonly #sources: Feed;
  readonly #tokenTypeIds: Feed;
  readonly #visible: Feed;
  readonly #steps = new Map<number, StepOfRows>();
  /** Position of each row's next token, and the visible tokens of its source. */
  #rows: { position: number; visible: number }[] = [];
  #current: StepOfRows | undefined;

  constructor(config: PlugConfig, numSlots: number, options: ForwardOptions) {
    const { hiddenSize, numAttentionHeads, decHiddenLayers } = decoderConfig(config);
    this.options = options;
    this.numSlots = numSlots;
    this.maxLength = config.maxPositionEmbeddings;
    const shape = [numSlots, numAttentionHeads, this.maxLength, hiddenSize / numAttentionHeads] as const;
    const dtype = options.cacheDType ?? options.computeDType;
    const rooms = (): nn.KeptTokens[] =>
      Array.from({ length: decHiddenLayers }, () => {
        const { keys, values } = nn.emptyKeptTokens(shape, dtype);
        return { keys: keep(keys), values: keep(values) };
      });
    this.#own = rooms();
    this.#memory = rooms();
    this.#ids = new Feed(numSlots);
    this.#positions = new Feed(numSlots);
    this.#sources = new Feed(numSlots);
    this.#tokenTypeIds = new Feed(numSlots);
    this.#visible = new Feed(numSlots);
    this.#sources.fill((row) => row);
  }

  /** Bytes that one slot takes in all layers. */
  static bytesPerSlot(config: PlugConfig, { cacheDType, computeDType }: ForwardOptions): number {
    const { hiddenSize, decHiddenLayers } = decoderConfig(config);
    const bytesOf = { float64: 8, float32: 4, bfloat16: 2, float16: 2 } as Record<string, number>;
    // Keys and values, of the source and of what is written.
    return (
      4 * decHiddenLayers * config.maxPositionEmbeddings * hiddenSize * bytesOf[cacheDType ?? computeDType]!
    );
  }

  /** Rows in use. */
  get numRows(): number {
    return this.#rows.length;
  }

  get ids(): Tensor {
    return this.#current!.ids;
  }

  get positionIds(): Tensor {
    return this.#current!.positionIds;
  }

  get tokenTypeIds(): Tensor {
    return this.#current!.tokenTypeIds;
  }

  /**
   * Appends a row for each text of the source.
   * @throws ShapeError when there are not as many slots
   */
  add(memory: readonly KeysValues[], source: TextLayout): void {
    const first = this.numRows;
    if (first + source.numRows > this.numSlots)
      throw new ShapeError(`The decoder has ${this.numSlots} slots, ${first + source.numRows} are needed.`);
    for (const [layer, given] of memory.entries())
      for (const part of ['keys', 'values'] as const) {
        const room = this.#memory[layer]![part].narrow(0, first, source.numRows);
        room.narrow(2, 0, given[part].shape[2]!).copy_(given[part]);
      }
    for (const visible of source.visible.toArray() as number[])
      this.#rows.push({ position: 0, visible: Number(visible) });
    this.#showSources();
  }

  /** Forgets a row; the last one takes its place. */
  remove(row: number): void {
    const last = this.#rows.pop()!;
    const from = this.numRows;
    if (row === from) return;
    noGrad(() => {
      const move = (buffer: Tensor, length: number): void => {
        using target = buffer.narrow(0, row, 1);
        using source = buffer.narrow(0, from, 1);
        using targetPart = target.narrow(2, 0, length);
        using sourcePart = source.narrow(2, 0, length);
        targetPart.copy_(sourcePart);
      };
      for (const [rooms, length] of [
        [this.#own, last.position],
        [this.#memory, last.visible],
      ] as const)
        for (const { keys, values } of rooms) {
          move(keys, Math.ceil(length / nn.keptGroup));
          move(values, length);
        }
    });
    this.#rows[row] = last;
    this.#showSources();
  }

  step(ids: ArrayLike<number>, body: () => Tensor): Tensor {
    if (ids.length !== this.numRows || ids.length === 0)
      throw new ShapeError(`The decoder has ${this.numRows} rows, got ${ids.length} token ids.`);
    if (this.#rows.some(({ position }) => position === this.maxLength))
      throw new ShapeError(`A row of the decoder holds ${this.maxLength} tokens and is full.`);
    this.#ids.fill((row) => ids[row] ?? 0);
    this.#positions.fill((row) => this.#rows[row]?.position ?? 0);
    const step = this.#stepOf(ids.length);
    this.#current = step;
    let logits: Tensor;
    if (step.program) logits = step.program.run();
    else {
      step.program = noGrad(() => Program.record(body));
      logits = step.program.firstResult;
    }
    for (const row of this.#rows) row.position++;
    return logits;
  }

  attention(layer: number): { toSelf: Attend; toSource: Attend } {
    const { own, sources, positionIds } = this.#current!;
    const kept = own[layer]!;
    const scale = 1 / Math.sqrt(kept.values.shape[3]!);
    const memory = { ...this.#memory[layer]!, visible: this.#visible.tensor, sources, scale };
    return {
      toSelf: (projected) => nn.selfAttentionStep(projected, kept, positionIds, scale),
      toSource: (query) => nn.crossAttentionStep(query, memory),
    };
  }

  #showSources(): void {
    // Of slots without a row none is read, but the kernel wants something to see everywhere.
    this.#visible.fill((row) => this.#rows[row]?.visible ?? 1);
  }

  #stepOf(numRows: number): StepOfRows {
    const made = this.#steps.get(numRows);
    if (made) return made;
    const part = (whole: Tensor): Tensor => keep(whole.narrow(0, 0, numRows));
    const step: StepOfRows = {
      ids: part(this.#ids.tensor),
      positionIds: part(this.#positions.tensor),
      tokenTypeIds: part(this.#tokenTypeIds.tensor),
      sources: part(this.#sources.tensor),
      own: this.#own.map(({ keys, values }) => ({ keys: part(keys), values: part(values) })),
    };
    this.#steps.set(numRows, step);
    return step;
  }

  [Symbol.dispose](): void {
    for (const { program, ids, positionIds, tokenTypeIds, sources, own } of this.#steps.values()) {
      program?.[Symbol.dispose]();
      for (const held of [ids, positionIds, tokenTypeIds, sources]) held.dispose();
      for (const { keys, values } of own) for (const held of [keys, values]) held.dispose();
    }
    for (const { keys, values } of [...this.#own, ...this.#memory])
      for (const held of [keys, values]) held.dispose();
    for (const feed of [this.#ids, this.#positions, this.#sources, this.#tokenTypeIds, this.#visible])
      feed.tensor.dispose();
  }
}
