// Batches without padding. The tokens of all texts stand one after another, [N]; a layout says where each begins.
import { type Tensor, tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';

/** Texts as packed integers; positions and token types restart at each text. */
export interface PackedTexts {
  /** Token ids [N]; below 0 they stand for prompt vectors (prompt.ts). */
  ids: Int32Array;
  /** Position of each token in its own text [N]. */
  positionIds: Int32Array;
  /** Segment of each token [N]. */
  tokenTypeIds: Int32Array;
  /** Tokens of each text [B]. They sum to N, or to less: tokens past the last text are filler. */
  lengths: Int32Array;
}

/** How packed tokens divide into rows. */
export interface TextLayout {
  /** Tokens of each row, int64 [B]. */
  lengths: Tensor;
  /** Leading tokens of each row that others may attend to, int64 [B]; equal to `lengths` unless a row has padding. */
  visible: Tensor;
  numRows: number;
  /** Tokens of the longest row. */
  maxLength: number;
  /** N, filler included. */
  numTokens: number;
  /** Index of each row's first token [B]. */
  starts: Int32Array;
}

/** Where prompt vectors stand in place of words. */
export interface PromptPlaces {
  /** Packed tokens that are replaced, int64. */
  places: Tensor;
  /** Which vector stands in each, int64. */
  rows: Tensor;
  /** Vectors that the model must have. */
  count: number;
}

/** A batch on the device. */
export interface TextBatch {
  ids: Tensor;
  positionIds: Tensor;
  tokenTypeIds: Tensor;
  layout: TextLayout;
  /** Absent where no id stands for a prompt vector. */
  prompt?: PromptPlaces;
}

/**
 * Moves packed texts to tensors. All rows must have at least one token.
 * @param visible leading tokens of each row that may be attended to. Default: all.
 * @throws ShapeError when the arrays do not fit together
 */
export function textBatch(texts: PackedTexts, visible?: Int32Array): TextBatch {
  const numTokens = texts.lengths.reduce((sum, length) => sum + length, 0);
  if (numTokens > texts.ids.length || texts.lengths.some((length) => length < 1))
    throw new ShapeError(
      `Row lengths [${texts.lengths}] must be positive and sum to at most the ${texts.ids.length} packed tokens.`,
    );
  const prompt = promptPlaces(texts.ids);
  return {
    ids: indexTensor(prompt ? texts.ids.map((id) => Math.max(id, 0)) : texts.ids),
    positionIds: indexTensor(texts.positionIds),
    tokenTypeIds: indexTensor(texts.tokenTypeIds),
    layout: textLayout(texts.lengths, visible, texts.ids.length),
    ...(prompt && { prompt }),
  };
}

function promptPlaces(ids: Int32Array): PromptPlaces | undefined {
  if (!ids.some((id) => id < 0)) return undefined;
  const places = [...ids.keys()].filter((at) => ids[at]! < 0);
  const rows = places.map((at) => -1 - ids[at]!);
  return { places: indexTensor(places), rows: indexTensor(rows), count: Math.max(...rows) + 1 };
}

/** The layout of rows of these lengths; `numTokens` may be larger than their sum. */
export function textLayout(lengths: Int32Array, visible: Int32Array = lengths, numTokens = 0): TextLayout {
  const starts = new Int32Array(lengths.length);
  let [total, longest] = [0, 0];
  for (const [row, length] of lengths.entries()) {
    starts[row] = total;
    total += length;
    longest = Math.max(longest, length);
  }
  return {
    lengths: indexTensor(lengths),
    visible: indexTensor(visible),
    numRows: lengths.length,
    maxLength: longest,
    numTokens: Math.max(total, numTokens),
    starts,
  };
}

/** Integers as an int64 tensor, the type that libtorch indexes with. */
export function indexTensor(values: ArrayLike<number>): Tensor {
  return tensor(BigInt64Array.from({ length: values.length }, (_, index) => BigInt(values[index]!)));
}

/** Packs texts of token ids; `types` gives each text's segments (default all 0). */
export function packTexts(
  texts: readonly ArrayLike<number>[],
  types?: readonly ArrayLike<number>[],
): PackedTexts {
  const lengths = Int32Array.from(texts, (text) => text.length);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const packed: PackedTexts = {
    ids: new Int32Array(total),
    positionIds: new Int32Array(total),
    tokenTypeIds: new Int32Array(total),
    lengths,
  };
  let at = 0;
  for (const [row, text] of texts.entries()) {
    for (let position = 0; position < text.length; position++, at++) {
      packed.ids[at] = text[position]!;
      packed.positionIds[at] = position;
      packed.tokenTypeIds[at] = types?.[row]?.[position] ?? 0;
    }
  }
  return packed;
}
