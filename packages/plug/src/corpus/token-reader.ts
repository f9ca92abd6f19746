// Reading token corpora: memory-mapped from a folder, or from arrays.
import { join } from 'node:path';
import { mapFile } from '@openplug/torch';
import { CorpusError, DisposedError } from '../errors.js';
import {
  bytesPerToken,
  checkFileHash,
  checkFileSize,
  documentsName,
  readIndex,
  requireLittleEndian,
  type TokenCorpusIndex,
  type TokenFileEntry,
} from './token-format.js';
import type { TokenCorpus, TokenDocument } from './types.js';

/** A corpus from a folder, with its index. */
export interface MappedTokenCorpus extends TokenCorpus {
  readonly index: TokenCorpusIndex;
}

/**
 * Opens one split of a token corpus, for example `corpus/train`. Only the pages that are used are read.
 *
 * @param options.verify also compare the SHA-256 of every file, which reads all of it. Default false: sizes are
 *   always checked.
 * @throws CorpusError if the folder is no finished corpus, or a file is missing, truncated or damaged.
 */
export function openTokenCorpus(folder: string, options: { verify?: boolean } = {}): MappedTokenCorpus {
  requireLittleEndian();
  const index = readIndex(folder);
  for (const entry of [...index.shards, index.sentences, index.documents]) {
    checkFileSize(folder, entry);
    if (options.verify === true) checkFileHash(folder, entry);
  }
  return new FolderCorpus(folder, index);
}

class FolderCorpus implements MappedTokenCorpus {
  readonly numDocuments: number;
  readonly numTokens: number;
  private shards: Uint8Array[];
  private sentences: Uint8Array;
  /** Pairs of 64-bit counts, each as its low and its high half: BigInt would be slow. */
  private documents: Uint32Array;
  /** Tokens before each shard. */
  private readonly shardStarts: number[] = [];
  private closed = false;

  constructor(
    private readonly folder: string,
    readonly index: TokenCorpusIndex,
  ) {
    this.numDocuments = index.numDocuments;
    this.numTokens = index.numTokens;
    this.shards = index.shards.map((entry) => this.map(entry));
    this.sentences = this.map(index.sentences);
    const bytes = this.map(index.documents);
    this.documents = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    let start = 0;
    for (const shard of index.shards) {
      this.shardStarts.push(start);
      start += shard.numTokens;
    }
    const ends: [string, number, number][] = [
      ['tokens', this.before(this.numDocuments, 0), index.numTokens],
      ['sentences', this.before(this.numDocuments, 1), index.numSentences],
    ];
    for (const [what, got, wanted] of ends)
      if (got !== wanted) throw this.damaged(`${what}: got ${got}, expected ${wanted}`);
  }

  documentLength(index: number): number {
    this.check(index);
    return this.before(index + 1, 0) - this.before(index, 0);
  }

  document(index: number): TokenDocument {
    this.check(index);
    const first = this.before(index, 0);
    const length = this.before(index + 1, 0) - first;
    const firstSentence = this.before(index, 1);
    const numSentences = this.before(index + 1, 1) - firstSentence;
    const shardNumber = this.shardOf(first);
    const shard = this.shards[shardNumber];
    const offset = first - (this.shardStarts[shardNumber] ?? 0);
    const width = bytesPerToken(this.index.dtype);
    if (shard === undefined || length < 1 || numSentences < 1 || (offset + length) * width > shard.length) {
      throw this.damaged(
        `document ${index}: ${length} tokens and ${numSentences} sentences at token ${first}`,
      );
    }
    const [buffer, byteOffset] = [shard.buffer, shard.byteOffset + offset * width];
    return {
      tokens:
        width === 2
          ? new Uint16Array(buffer, byteOffset, length)
          : new Uint32Array(buffer, byteOffset, length),
      sentenceStarts: new Uint32Array(
        this.sentences.buffer,
        this.sentences.byteOffset + firstSentence * 4,
        numSentences,
      ),
    };
  }

  close(): void {
    this.closed = true;
    this.shards = [];
    this.sentences = new Uint8Array(0);
    this.documents = new Uint32Array(0);
  }

  /** Tokens (0) or sentences (1) before a document. */
  private before(document: number, what: 0 | 1): number {
    const position = document * 4 + what * 2;
    return this.documents[position]! + this.documents[position + 1]! * 2 ** 32;
  }

  /** The last shard that begins at or before a token. */
  private shardOf(token: number): number {
    let low = 0;
    let high = this.shardStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.shardStarts[middle]! <= token) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  private check(index: number): void {
    if (this.closed) throw new DisposedError(`the corpus ${this.folder} is closed. Open it again.`);
    checkDocumentIndex(index, this.numDocuments);
  }

  private map(entry: TokenFileEntry): Uint8Array {
    // A file without a byte cannot be mapped.
    return entry.bytes === 0 ? new Uint8Array(0) : mapFile(join(this.folder, entry.file));
  }

  private damaged(what: string): CorpusError {
    return new CorpusError(
      `${join(this.folder, documentsName)} is damaged: ${what}. Write the corpus again.`,
    );
  }
}

/**
 * A corpus in memory.
 *
 * @param documents token ids with the first token of each sentence; the arrays are used as they are.
 * @throws CorpusError if a document is empty or its sentences do not begin with 0 and increase.
 */
export function tokenCorpusFromDocuments(documents: readonly TokenDocument[]): TokenCorpus {
  for (const [index, { tokens, sentenceStarts }] of documents.entries()) {
    const increases = sentenceStarts.every((start, at) => at === 0 || start > sentenceStarts[at - 1]!);
    const last = sentenceStarts[sentenceStarts.length - 1] ?? 0;
    if (sentenceStarts[0] !== 0 || !increases || last >= tokens.length) {
      throw new CorpusError(
        `document ${index}: sentenceStarts is [${[...sentenceStarts.subarray(0, 8)]}], expected increasing positions ` +
          `from 0 to below its ${tokens.length} tokens.`,
      );
    }
  }
  const at = (index: number): TokenDocument => {
    checkDocumentIndex(index, documents.length);
    return documents[index]!;
  };
  return {
    numDocuments: documents.length,
    numTokens: documents.reduce((total, { tokens }) => total + tokens.length, 0),
    documentLength: (index) => at(index).tokens.length,
    document: at,
    close: () => {},
  };
}

function checkDocumentIndex(index: number, numDocuments: number): void {
  if (!(Number.isInteger(index) && index >= 0 && index < numDocuments)) {
    throw new RangeError(`document ${index} does not exist: the corpus has ${numDocuments} documents.`);
  }
}
