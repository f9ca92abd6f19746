// The tokenizer: text to the ids of a published BERT vocabulary and back. The ids are exactly those of
// Hugging Face's BertTokenizerFast, whose implementation is the oracle of the tests.
import { TokenizerError } from '../errors.js';
import { BertNormalizer, type NormalizationOptions, type ScanSink } from './bert-normalizer.js';
import { TokenDecoder } from './decode.js';
import { readVocabulary, writeVocabulary } from './vocabulary-file.js';
import { WordPiece } from './word-piece.js';

/** The roles that the model gives to tokens of the vocabulary. */
export type SpecialRole = 'pad' | 'unk' | 'cls' | 'sep' | 'mask';

export const SPECIAL_TOKENS: Readonly<Record<SpecialRole, string>> = {
  pad: '[PAD]',
  unk: '[UNK]',
  cls: '[CLS]',
  sep: '[SEP]',
  mask: '[MASK]',
};

export interface TokenizerOptions extends NormalizationOptions {
  /** The spelling of special tokens that differ from [PAD], [UNK], [CLS], [SEP], [MASK]. */
  specialTokens?: Partial<Record<SpecialRole, string>>;
}

export interface EncodeOptions {
  /**
   * Treat `[MASK]` and the like inside the text as ordinary characters. Default false, as in Hugging Face's
   * tokenizers: a special token that is spelled out becomes its id. Use true for text of unknown origin.
   */
  splitSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Leave out [PAD], [UNK], [CLS], [SEP] and [MASK]. Default true. */
  skipSpecialTokens?: boolean;
}

export interface Tokenizer {
  /** Number of entries of the vocabulary (not padded). */
  readonly vocabSize: number;
  /** Ids of the special tokens. */
  readonly special: Readonly<Record<SpecialRole, number>>;
  /** All tokens, by id. */
  readonly tokens: readonly string[];
  /** The ids of a text; no special token is added. */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /**
   * The text of ids; see decode.ts for the rules of spacing.
   * @throws TokenizerError when an id lies outside the vocabulary.
   */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** @throws TokenizerError when the id lies outside the vocabulary. */
  idToToken(id: number): string;
  tokenToId(token: string): number | undefined;
  /** Writes vocab.txt and tokenizer_config.json, which loadTokenizer and Hugging Face's loaders read. */
  save(folder: string): void;
}

const MAX_CACHED_RUNS = 200_000;
const MAX_CACHED_RUN_LENGTH = 64;

/**
 * @param path a folder with vocab.txt (and, if it has one, tokenizer_config.json), or a vocab.txt file.
 * @throws TokenizerError when the vocabulary is missing or unusable.
 */
export function loadTokenizer(path: string): Tokenizer {
  const file = readVocabulary(path);
  return new BertTokenizer(file.tokens, file.options, file.path);
}

/**
 * @param tokens the vocabulary in id order.
 * @throws TokenizerError when a token is duplicate or empty, or a special token is missing.
 */
export function tokenizerFromVocabulary(
  tokens: readonly string[],
  options: TokenizerOptions = {},
): Tokenizer {
  return new BertTokenizer([...tokens], options, 'the vocabulary');
}

class BertTokenizer implements Tokenizer, ScanSink {
  readonly tokens: readonly string[];
  readonly special: Readonly<Record<SpecialRole, number>>;
  readonly #options: TokenizerOptions;
  readonly #ids: Map<string, number>;
  readonly #normalizer: BertNormalizer;
  readonly #wordPiece: WordPiece;
  readonly #decoder: TokenDecoder;
  readonly #specialPattern: RegExp;
  // Ids of isolated characters by code point, −1 where not looked up yet: an array for the BMP.
  readonly #isolatedIds = new Int32Array(0x10000).fill(-1);
  readonly #isolatedSupplementaryIds = new Map<number, number>();
  readonly #runIds = new Map<string, readonly number[]>();
  #output = new Int32Array(1024);
  #outputLength = 0;

  constructor(tokens: readonly string[], options: TokenizerOptions, source: string) {
    this.tokens = tokens;
    this.#options = options;
    this.#ids = indexTokens(tokens, source);
    const spelling = { ...SPECIAL_TOKENS };
    for (const role of Object.keys(SPECIAL_TOKENS) as SpecialRole[])
      spelling[role] = options.specialTokens?.[role] ?? SPECIAL_TOKENS[role];
    this.special = findSpecialTokens(this.#ids, spelling, source);
    this.#normalizer = new BertNormalizer(options);
    this.#wordPiece = new WordPiece(this.#ids, this.special.unk);
    this.#decoder = new TokenDecoder(tokens, new Set(Object.values(this.special)));
    // Longest first, so that of two special tokens that start alike the longer one is found.
    const alternatives = Object.values(spelling).sort((a, b) => b.length - a.length);
    this.#specialPattern = new RegExp(alternatives.map(escapeForPattern).join('|'), 'gu');
  }

  get vocabSize(): number {
    return this.tokens.length;
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array {
    this.#outputLength = 0;
    let start = 0;
    if (!options.splitSpecialTokens) {
      for (const match of text.matchAll(this.#specialPattern)) {
        this.#normalizer.scan(text.slice(start, match.index), this);
        this.#push(this.#ids.get(match[0]) as number);
        start = match.index + match[0].length;
      }
    }
    this.#normalizer.scan(start === 0 ? text : text.slice(start), this);
    return this.#output.slice(0, this.#outputLength);
  }

  isolated(codePoint: number): void {
    if (codePoint > 0xffff) {
      let id = this.#isolatedSupplementaryIds.get(codePoint);
      if (id === undefined) {
        id = this.#lookUpIsolated(codePoint);
        this.#isolatedSupplementaryIds.set(codePoint, id);
      }
      this.#push(id);
      return;
    }
    let id = this.#isolatedIds[codePoint] as number;
    if (id < 0) {
      id = this.#lookUpIsolated(codePoint);
      this.#isolatedIds[codePoint] = id;
    }
    this.#push(id);
  }

  run(text: string, start: number, end: number): void {
    const run = text.slice(start, end);
    let ids = this.#runIds.get(run);
    if (ids === undefined) {
      ids = this.#runToIds(run);
      if (run.length <= MAX_CACHED_RUN_LENGTH) {
        if (this.#runIds.size >= MAX_CACHED_RUNS) this.#runIds.clear();
        // A copy: the engine's slices keep the whole text that they were cut from alive.
        this.#runIds.set(Buffer.from(run, 'utf16le').toString('utf16le'), ids);
      }
    }
    for (let index = 0; index < ids.length; index++) this.#push(ids[index] as number);
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    return this.#decoder.decode(ids, options.skipSpecialTokens ?? true);
  }

  idToToken(id: number): string {
    const token = this.tokens[id];
    if (token === undefined) {
      throw new TokenizerError(
        `id ${id} is outside the vocabulary of ${this.vocabSize} entries (ids 0 to ${this.vocabSize - 1})`,
      );
    }
    return token;
  }

  tokenToId(token: string): number | undefined {
    return this.#ids.get(token);
  }

  save(folder: string): void {
    writeVocabulary(folder, this.tokens, this.#options);
  }

  #lookUpIsolated(codePoint: number): number {
    return this.#runToIds(String.fromCodePoint(codePoint))[0] as number;
  }

  #runToIds(run: string): number[] {
    return this.#normalizer.runToWords(run).flatMap((word) => this.#wordPiece.encode(word));
  }

  #push(id: number): void {
    if (this.#outputLength === this.#output.length) {
      const larger = new Int32Array(2 * this.#output.length);
      larger.set(this.#output);
      this.#output = larger;
    }
    this.#output[this.#outputLength++] = id;
  }
}

function indexTokens(tokens: readonly string[], source: string): Map<string, number> {
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    const earlier = ids.get(token);
    if (earlier !== undefined) {
      throw new TokenizerError(
        `${source}: token ${JSON.stringify(token)} stands at ids ${earlier} and ${id}; remove one of them`,
      );
    }
    if (token === '' || /[\r\n]/.test(token)) {
      throw new TokenizerError(
        `${source}: the token of id ${id} is ${JSON.stringify(token)}; a token must fill one line of vocab.txt`,
      );
    }
    ids.set(token, id);
  });
  return ids;
}

function findSpecialTokens(
  ids: ReadonlyMap<string, number>,
  spelling: Record<SpecialRole, string>,
  source: string,
): Record<SpecialRole, number> {
  const missing = Object.values(spelling).filter((token) => !ids.has(token));
  if (missing.length > 0) {
    throw new TokenizerError(
      `${source}: special tokens ${missing.join(', ')} are missing from its ${ids.size} entries; ` +
        'add them, or give their spelling (specialTokens, or *_token in tokenizer_config.json)',
    );
  }
  return {
    pad: ids.get(spelling.pad) as number,
    unk: ids.get(spelling.unk) as number,
    cls: ids.get(spelling.cls) as number,
    sep: ids.get(spelling.sep) as number,
    mask: ids.get(spelling.mask) as number,
  };
}

function escapeForPattern(token: string): string {
  return token.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
