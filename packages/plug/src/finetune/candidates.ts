// How probable given continuations are under the decoder: each source is encoded once, what all continuations share is
// decoded once, and only where they part does each get a row of its own.
import { noGrad, scope, type Tensor } from '@openplug/torch';
import { type ForwardOptions, indexTensor, type PlugModel, packTexts, textBatch } from '../model/index.js';
import type { Tokenizer } from '../text/index.js';

/** A source with continuations. */
export interface ScoredSource {
  /** [CLS] source [SEP]. */
  sourceIds: ArrayLike<number>;
  /** Tokens that the decoder is given first, without [CLS]; the same number for all sources of a call. */
  before: readonly number[];
  /** Tokens of each continuation, at least one. */
  continuations: readonly (readonly number[])[];
}

/**
 * Σ ln p of each continuation's tokens, by source.
 * @param sources scored as one batch
 */
export function scoreContinuations(
  model: PlugModel,
  tokenizer: Tokenizer,
  sources: readonly ScoredSource[],
  options: ForwardOptions,
): number[][] {
  const scores = sources.map(({ continuations }) => continuations.map(() => 0));
  const rows = sources.flatMap(({ continuations }, source) =>
    continuations.map((ids, index) => ({ source, index, ids })),
  );
  const numBefore = sources[0]?.before.length ?? 0;
  const longest = Math.max(...rows.map(({ ids }) => ids.length));
  noGrad(() => {
    using cache = scope(() => {
      const batch = textBatch(packTexts(sources.map(({ sourceIds }) => sourceIds)));
      return model.startDecoding(model.encode(batch, options), batch.layout, numBefore + longest, options);
    });
    const take = (
      next: (row: number) => number,
      of: (row: number) => readonly [row: number, id: number][],
    ): void =>
      scope(() => {
        const numRows = cache.numRows;
        const logits = model.nextLogits(
          Array.from({ length: numRows }, (_, row) => next(row)),
          cache,
        );
        const wanted = Array.from({ length: numRows }, (_, row) => of(row));
        const picked = logProbabilities(
          logits,
          wanted.flatMap((list, row) => list.map(([, id]) => [row, id] as const)),
        );
        for (const [at, [row]] of wanted.flat().entries()) {
          const { source, index } = rows[row]!;
          scores[source]![index]! += picked[at]!;
        }
      });
    // What all share: a row for each source, which at its end scores the first token of every continuation.
    let firstRow = 0;
    const rowsOf = sources.map(({ continuations }) => {
      const list = continuations.map((_, index) => firstRow + index);
      firstRow += list.length;
      return list;
    });
    for (let at = 0; at <= numBefore; at++)
      take(
        (source) => (at === 0 ? tokenizer.special.cls : sources[source]!.before[at - 1]!),
        (source) => (at < numBefore ? [] : rowsOf[source]!.map((row) => [row, rows[row]!.ids[0]!])),
      );
    if (longest === 1) return;
    scope(() => cache.reorder(rows.map(({ source }) => source)));
    for (let at = 1; at < longest; at++)
      take(
        (row) => rows[row]!.ids[at - 1] ?? tokenizer.special.sep,
        (row) => {
          const id = rows[row]!.ids[at];
          return id === undefined ? [] : [[row, id]];
        },
      );
  });
  return scores;
}

/** ln p of chosen tokens; logits [R, V]. */
function logProbabilities(logits: Tensor, chosen: readonly (readonly [row: number, id: number])[]): number[] {
  if (chosen.length === 0) return [];
  const width = logits.shape[1]!;
  const flat = logits.to('float32').logSoftmax(-1).reshape(-1);
  return flat.indexSelect(0, indexTensor(chosen.map(([row, id]) => row * width + id))).toArray();
}
