// Prompts become encoder sources: [CLS] prompt [SEP], cut to the window; and so do prompts with the text that
// followed them, when a long text moves the window on.
import { ConfigError, TokenizerError } from '../errors.js';
import { type PlugConfig, packTexts, promptIds, type TextBatch, textBatch } from '../model/index.js';
import type { Tokenizer } from '../text/index.js';
import type { GenerationPlan } from './settings.js';

/** A source that was tokenized already. */
export interface SourceIds {
  /** All of it, with [CLS] in front and [SEP] at the end; at most `windowTokens`. */
  readonly ids: ArrayLike<number>;
  /** Segment of each token. Default: all 0. */
  readonly tokenTypeIds?: ArrayLike<number>;
}

/** What a text is written after: text, or token ids for a source with segments of its own. */
export type Prompt = string | SourceIds;

/** One encoder input. */
export interface Source {
  readonly ids: readonly number[];
  readonly tokenTypeIds: readonly number[];
  readonly notes: readonly string[];
}

/**
 * @throws ConfigError when the tokenizer is not the model's
 */
export function checkTokenizer(tokenizer: Tokenizer, config: PlugConfig): void {
  if (tokenizer.vocabSize !== config.originalVocabSize)
    throw new ConfigError(
      `The tokenizer has ${tokenizer.vocabSize} entries, the model was made for ${config.originalVocabSize} ` +
        '(original_vocab_size). Use the vocab.txt that lies beside the model.',
    );
}

/**
 * Encodes a prompt. Of one that is longer than the window, the end is kept, as it is what the text follows.
 * @throws TokenizerError for ids outside the vocabulary
 * @throws ConfigError for ids that do not fit the window or their token types
 */
export function sourceOf(
  prompt: Prompt,
  tokenizer: Tokenizer,
  plan: GenerationPlan,
  config: PlugConfig,
): Source {
  if (typeof prompt !== 'string') return checkedSource(prompt, plan, config);
  const { cls, sep, unk } = tokenizer.special;
  // A prompt is text: "[SEP]" in it is five characters.
  const encoded = tokenizer.encode(prompt, { splitSpecialTokens: true });
  const vectors = promptIds(config);
  const room = plan.windowTokens - 2 - vectors.length;
  if (room < 1)
    throw new ConfigError(
      `windowTokens is ${plan.windowTokens}, of which [CLS], [SEP] and the model's ${vectors.length} prompt vectors leave nothing for a text. Raise it.`,
    );
  const kept = encoded.subarray(Math.max(0, encoded.length - room));
  const notes: string[] = [];
  if (kept.length < encoded.length)
    notes.push(
      `The prompt has ${encoded.length} tokens, the window holds ${room}: only its last ${room} are used.`,
    );
  const unknown = kept.reduce((count, id) => count + (id === unk ? 1 : 0), 0);
  if (unknown > 0)
    notes.push(
      `Tokens of the prompt that are not in the vocabulary: ${unknown}; the model sees [UNK] there.`,
    );
  const ids = [cls, ...vectors, ...kept, sep];
  return { ids, tokenTypeIds: ids.map(() => 0), notes };
}

function checkedSource(
  { ids, tokenTypeIds = new Uint8Array(ids.length) }: SourceIds,
  plan: GenerationPlan,
  config: PlugConfig,
): Source {
  if (ids.length < 1 || ids.length > plan.windowTokens)
    throw new ConfigError(
      `A source of token ids needs 1 to ${plan.windowTokens} of them, got ${ids.length}. Cut it, or raise windowTokens up to the model's positions.`,
    );
  if (tokenTypeIds.length !== ids.length)
    throw new ConfigError(`A source has ${ids.length} token ids but ${tokenTypeIds.length} token types.`);
  const check = (values: ArrayLike<number>, what: string, limit: number): readonly number[] =>
    Array.from(values, (value, position) => {
      if (Number.isInteger(value) && value >= 0 && value < limit) return value;
      throw new TokenizerError(
        `${what} ${value} at position ${position} of the source is outside 0 to ${limit - 1}; was it made for another model?`,
      );
    });
  return {
    ids: check(ids, 'Token id', config.originalVocabSize),
    tokenTypeIds: check(tokenTypeIds, 'Token type', config.typeVocabSize),
    notes: [],
  };
}

/** Sources as one batch for the encoder. */
export function sourceBatch(sources: readonly Source[]): TextBatch {
  const packed = packTexts(
    sources.map(({ ids }) => ids),
    sources.map(({ tokenTypeIds }) => tokenTypeIds),
  );
  return textBatch(packed);
}

/**
 * The source of the next pass of a long text: the first source with what was written appended, less its oldest
 * part; prompt vectors stay in front. Everything is of segment 0, as the decoder that wrote it knows no other.
 */
export function movedSource(
  first: Source,
  written: readonly number[],
  windowTokens: number,
  { cls, sep }: Tokenizer['special'],
): Source {
  const { ids } = first;
  const inner = ids.slice(ids[0] === cls ? 1 : 0, ids.at(-1) === sep ? -1 : undefined);
  const vectors = inner.filter((id) => id < 0);
  const text = [...inner.slice(vectors.length), ...written].slice(-(windowTokens - 2 - vectors.length));
  const moved = [cls, ...vectors, ...text, sep];
  return { ids: moved, tokenTypeIds: moved.map(() => 0), notes: [] };
}
