// Writing a token corpus. Everything goes into a hidden folder beside the target and is renamed at the end, so
// a write that was killed, or that failed, never looks like a finished corpus.
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { ConfigError, CorpusError } from '../errors.js';
import { countCharacters } from './characters.js';
import { OutputFile, writing } from './output-file.js';
import { checkHeldOutFraction, splitOf } from './split.js';
import {
  bytesPerToken,
  documentsName,
  indexName,
  requireLittleEndian,
  sentencesName,
  type TokenCorpusIndex,
  vocabularySha256,
} from './token-format.js';
import type { CorpusTokenizer, TextDocument } from './types.js';

export interface WriteTokenCorpusOptions {
  /** Share of documents held out, by `splitOf`. Default 0.01. */
  heldOutFraction?: number;
  /** A shard is closed before it would pass this many bytes; a longer document has a shard alone. Default 256 MiB. */
  shardBytes?: number;
  /** Replace a finished corpus in the folder instead of refusing. Default false. */
  overwrite?: boolean;
  /** Called after each document with the number of documents so far. */
  onProgress?: (documents: number) => void;
}

export interface SplitSummary {
  documents: number;
  sentences: number;
  tokens: number;
  /** Code points. */
  characters: number;
  shards: number;
}

export interface CorpusSummary {
  folder: string;
  dtype: 'uint16' | 'uint32';
  vocabSize: number;
  train: SplitSummary;
  heldOut: SplitSummary;
  /** Documents left out because the tokenizer made no token of them. */
  emptyDocuments: number;
}

/**
 * Encodes documents and writes `folder/train` and `folder/heldOut` (see token-format.ts). Memory stays small
 * whatever the number of documents. Sentences without a token are left out.
 *
 * @param folder target; must not exist, or be empty, or (with `overwrite`) hold a finished corpus. While writing,
 *   `.<name>.partial` beside it is used; one left by a killed write is removed.
 * @throws ConfigError for settings out of range.
 * @throws CorpusError if the target is in use, the disk refuses, no document is left for training, or the
 *   tokenizer gives an id outside its vocabulary. Errors of `documents` pass through. The target is then
 *   as it was before.
 */
export function writeTokenCorpus(
  folder: string,
  documents: Iterable<TextDocument>,
  tokenizer: CorpusTokenizer,
  options: WriteTokenCorpusOptions = {},
): CorpusSummary {
  const { heldOutFraction = 0.01, shardBytes = 256 * 1024 * 1024, overwrite = false, onProgress } = options;
  checkHeldOutFraction(heldOutFraction);
  if (!(shardBytes >= 1)) throw new ConfigError(`shardBytes is ${shardBytes}, expected at least 1 byte.`);
  requireLittleEndian();
  const target = resolve(folder);
  checkTarget(target, overwrite);
  const partial = join(dirname(target), `.${basename(target)}.partial`);
  const dtype = tokenizer.vocabSize <= 65536 ? 'uint16' : 'uint32';
  writing(partial, () => rmSync(partial, { recursive: true, force: true }));
  const open: SplitWriter[] = [];
  try {
    const train = new SplitWriter(join(partial, 'train'), dtype, shardBytes);
    open.push(train);
    const heldOut = new SplitWriter(join(partial, 'heldOut'), dtype, shardBytes);
    open.push(heldOut);
    let taken = 0;
    let emptyDocuments = 0;
    for (const document of documents) {
      const writer = splitOf(document.id, heldOutFraction) === 'train' ? train : heldOut;
      if (!writer.add(document, tokenizer)) emptyDocuments++;
      onProgress?.(++taken);
    }
    if (train.totals.documents === 0) {
      throw new CorpusError(
        `no document is left for training in ${folder}: got ${taken} documents, ${emptyDocuments} of them without ` +
          `a token, ${heldOut.totals.documents} held out. Give more text or a smaller heldOutFraction.`,
      );
    }
    const { vocabSize } = tokenizer;
    const shared = { vocabSize, vocabularySha256: vocabularySha256(tokenizer) ?? null, heldOutFraction };
    train.finish({ split: 'train', ...shared });
    heldOut.finish({ split: 'heldOut', ...shared });
    writing(target, () => moveIntoPlace(partial, target));
    return { folder, dtype, vocabSize, train: train.totals, heldOut: heldOut.totals, emptyDocuments };
  } finally {
    for (const writer of open) writer.close();
    rmSync(partial, { recursive: true, force: true });
  }
}

/** Writes the files of one split. */
class SplitWriter {
  readonly totals: SplitSummary = { documents: 0, sentences: 0, tokens: 0, characters: 0, shards: 0 };
  private readonly shards: TokenCorpusIndex['shards'] = [];
  private readonly sentences: OutputFile;
  private readonly documents: OutputFile;
  private shard: OutputFile | undefined;
  private shardDocuments = 0;

  constructor(
    private readonly folder: string,
    private readonly dtype: 'uint16' | 'uint32',
    private readonly shardBytes: number,
  ) {
    writing(folder, () => mkdirSync(folder, { recursive: true }));
    this.sentences = new OutputFile(folder, sentencesName);
    this.documents = new OutputFile(folder, documentsName);
    this.documents.write(new BigUint64Array([0n, 0n]));
  }

  /** Returns false if the tokenizer made no token of the document. */
  add(document: TextDocument, tokenizer: CorpusTokenizer): boolean {
    const encoded: ArrayLike<number>[] = [];
    let length = 0;
    const starts: number[] = [];
    let characters = 0;
    for (const sentence of document.sentences) {
      const ids = tokenizer.encode(sentence, { splitSpecialTokens: true });
      if (ids.length === 0) continue;
      starts.push(length);
      encoded.push(ids);
      length += ids.length;
      characters += countCharacters(sentence);
    }
    if (length === 0) return false;
    const tokens = this.dtype === 'uint16' ? new Uint16Array(length) : new Uint32Array(length);
    for (const [index, ids] of encoded.entries()) {
      checkIds(ids, tokenizer.vocabSize, document.id);
      tokens.set(ids, starts[index]!);
    }
    const shard = this.shardFor(tokens.byteLength);
    shard.write(tokens);
    this.shardDocuments++;
    this.sentences.write(Uint32Array.from(starts));
    this.totals.documents++;
    this.totals.sentences += starts.length;
    this.totals.tokens += length;
    this.totals.characters += characters;
    this.documents.write(new BigUint64Array([BigInt(this.totals.tokens), BigInt(this.totals.sentences)]));
    return true;
  }

  finish(
    shared: Pick<TokenCorpusIndex, 'split' | 'vocabSize' | 'vocabularySha256' | 'heldOutFraction'>,
  ): void {
    this.finishShard();
    const index: TokenCorpusIndex = {
      format: 'openplug-tokens',
      version: 1,
      split: shared.split,
      dtype: this.dtype,
      vocabSize: shared.vocabSize,
      vocabularySha256: shared.vocabularySha256,
      heldOutFraction: shared.heldOutFraction,
      numDocuments: this.totals.documents,
      numSentences: this.totals.sentences,
      numTokens: this.totals.tokens,
      numCharacters: this.totals.characters,
      shards: this.shards,
      sentences: this.sentences.finish(),
      documents: this.documents.finish(),
    };
    const path = join(this.folder, indexName);
    writing(path, () => {
      writeFileSync(path, `${JSON.stringify(index, null, 2)}\n`, { flush: true });
      syncFolder(this.folder);
    });
  }

  /** Closes what is open; files that are not finished stay unfinished. */
  close(): void {
    this.shard?.close();
    this.sentences.close();
    this.documents.close();
  }

  private shardFor(bytes: number): OutputFile {
    if (this.shard !== undefined && this.shard.bytes + bytes > this.shardBytes) this.finishShard();
    this.shard ??= new OutputFile(this.folder, `tokens-${String(this.shards.length).padStart(5, '0')}.bin`);
    return this.shard;
  }

  private finishShard(): void {
    if (this.shard === undefined) return;
    const entry = this.shard.finish();
    const numTokens = entry.bytes / bytesPerToken(this.dtype);
    this.shards.push({ ...entry, numTokens, numDocuments: this.shardDocuments });
    this.totals.shards = this.shards.length;
    this.shard = undefined;
    this.shardDocuments = 0;
  }
}

function checkIds(ids: ArrayLike<number>, vocabSize: number, documentId: string): void {
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index]!;
    if (!(id >= 0 && id < vocabSize)) {
      throw new CorpusError(
        `document '${documentId}': the tokenizer gave id ${id}, expected ids from 0 to ${vocabSize - 1}. ` +
          'Check that the tokenizer and its vocabulary belong together.',
      );
    }
  }
}

function checkTarget(target: string, overwrite: boolean): void {
  if (writing(target, () => statSync(target, { throwIfNoEntry: false })) === undefined) return;
  const entries = writing(target, () => readdirSync(target));
  if (entries.length === 0) return;
  if (!entries.every((name) => name === 'train' || name === 'heldOut')) {
    throw new CorpusError(`${target} is not empty and not a token corpus. Choose another folder.`);
  }
  if (!overwrite)
    throw new CorpusError(`${target} already holds a corpus. Choose another folder, or overwrite it.`);
}

/** Puts the finished folder at its place; an older corpus is moved aside first and removed last. */
function moveIntoPlace(partial: string, target: string): void {
  const old = `${partial}.old`;
  rmSync(old, { recursive: true, force: true });
  syncFolder(partial);
  if (statSync(target, { throwIfNoEntry: false }) !== undefined) renameSync(target, old);
  try {
    renameSync(partial, target);
  } catch (error) {
    if (statSync(old, { throwIfNoEntry: false }) !== undefined) renameSync(old, target);
    throw error;
  }
  syncFolder(dirname(target));
  rmSync(old, { recursive: true, force: true });
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
