// The files of a token corpus, version 1. A corpus folder has `train/` and `heldOut/`, each with
//
//   index.json         counts, element type, vocabulary, and bytes and SHA-256 of each other file
//   tokens-00000.bin   token ids, uint16 if the vocabulary has at most 65536 entries, else uint32; a document
//                      never goes on into the next shard
//   sentences.bin      uint32 per sentence: its first token, counted from its document's first token
//   documents.bin      two uint64 per document and one pair more at the end: the number of tokens, and of
//                      sentences, before it in the whole split
//
// All numbers are little-endian. The same documents, tokenizer and settings give the same bytes.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { CorpusError } from '../errors.js';
import { readable } from './files.js';
import type { CorpusTokenizer } from './types.js';

export const indexName = 'index.json';
export const sentencesName = 'sentences.bin';
export const documentsName = 'documents.bin';
/** Bytes of a pair in documents.bin. */
export const documentRecordBytes = 16;

const count = z.number().int().nonnegative();
const fileEntry = z.strictObject({
  file: z.string().regex(/^[\w-]+\.bin$/),
  bytes: count,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const indexSchema = z.strictObject({
  format: z.literal('openplug-tokens'),
  version: z.literal(1),
  split: z.enum(['train', 'heldOut']),
  dtype: z.enum(['uint16', 'uint32']),
  vocabSize: count,
  /** Hash of the vocabulary's entries, null if the tokenizer does not give them. */
  vocabularySha256: z.string().nullable(),
  heldOutFraction: z.number(),
  numDocuments: count,
  numSentences: count,
  numTokens: count,
  /** Code points of the text that was encoded. */
  numCharacters: count,
  shards: z.array(fileEntry.extend({ numTokens: count, numDocuments: count })),
  sentences: fileEntry,
  documents: fileEntry,
});

/** What `index.json` holds. */
export type TokenCorpusIndex = z.infer<typeof indexSchema>;
export type TokenFileEntry = z.infer<typeof fileEntry>;

/**
 * Reads and checks the index of one split.
 * @throws CorpusError if it is missing, damaged, of another version, or its counts contradict one another.
 */
export function readIndex(folder: string): TokenCorpusIndex {
  const path = join(folder, indexName);
  if (!exists(path)) {
    const next = exists(join(folder, 'train', indexName))
      ? `Open ${join(folder, 'train')} or ${join(folder, 'heldOut')}.`
      : "Write the corpus again with 'plug corpus'.";
    throw new CorpusError(`${folder} is not a finished token corpus: it has no ${indexName}. ${next}`);
  }
  const text = readable(path, () => readFileSync(path, 'utf8'));
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw new CorpusError(
      `${path} is damaged: it is not JSON (${text.length} characters). Write the corpus again.`,
      {
        cause,
      },
    );
  }
  const parsed = indexSchema.safeParse(content);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new CorpusError(
      `${path} is damaged or of another version: ${issue?.path.join('.')}: ${issue?.message}. Write the corpus again.`,
      { cause: parsed.error },
    );
  }
  const index = parsed.data;
  const width = bytesPerToken(index.dtype);
  const sums = index.shards.reduce(
    (total, shard) => ({
      tokens: total.tokens + shard.numTokens,
      documents: total.documents + shard.numDocuments,
      bytes: total.bytes + shard.bytes,
    }),
    { tokens: 0, documents: 0, bytes: 0 },
  );
  const expected: [string, number, number][] = [
    ['tokens in the shards', sums.tokens, index.numTokens],
    ['documents in the shards', sums.documents, index.numDocuments],
    ['bytes of the shards', sums.bytes, index.numTokens * width],
    [`bytes of ${sentencesName}`, index.sentences.bytes, index.numSentences * 4],
    [`bytes of ${documentsName}`, index.documents.bytes, (index.numDocuments + 1) * documentRecordBytes],
  ];
  for (const [what, got, wanted] of expected) {
    if (got !== wanted) {
      throw new CorpusError(
        `${path} contradicts itself: ${what}: got ${got}, expected ${wanted}. Write the corpus again.`,
      );
    }
  }
  return index;
}

/** @throws CorpusError naming the file, the size it has and the size it should have. */
export function checkFileSize(folder: string, entry: TokenFileEntry): void {
  const path = join(folder, entry.file);
  const bytes = readable(path, () => statSync(path).size);
  if (bytes !== entry.bytes) {
    throw new CorpusError(
      `${path} is damaged: it has ${bytes} bytes, expected ${entry.bytes}. Copy it again, or write the corpus again.`,
    );
  }
}

/** @throws CorpusError if the file's SHA-256 is not the one in the index. */
export function checkFileHash(folder: string, entry: TokenFileEntry): void {
  const path = join(folder, entry.file);
  const hash = createHash('sha256');
  const descriptor = readable(path, () => openSync(path, 'r'));
  try {
    const chunk = Buffer.allocUnsafe(1 << 20);
    for (;;) {
      const bytes = readable(path, () => readSync(descriptor, chunk, 0, chunk.length, null));
      if (bytes === 0) break;
      hash.update(chunk.subarray(0, bytes));
    }
  } finally {
    closeSync(descriptor);
  }
  const got = hash.digest('hex');
  if (got !== entry.sha256) {
    throw new CorpusError(
      `${path} is damaged: its SHA-256 is ${got}, expected ${entry.sha256} (${entry.bytes} bytes). ` +
        'Copy it again, or write the corpus again.',
    );
  }
}

/**
 * A hash of all entries of a vocabulary in order: a corpus made with one tokenizer must not be trained on with
 * another.
 * @returns undefined if the tokenizer does not give its entries.
 */
export function vocabularySha256(tokenizer: CorpusTokenizer): string | undefined {
  if (tokenizer.idToToken === undefined) return undefined;
  const hash = createHash('sha256');
  for (let id = 0; id < tokenizer.vocabSize; id++) hash.update(`${tokenizer.idToToken(id)}\n`, 'utf8');
  return hash.digest('hex');
}

export function bytesPerToken(dtype: 'uint16' | 'uint32'): 2 | 4 {
  return dtype === 'uint16' ? 2 : 4;
}

/** Files are read and written in the machine's byte order, which therefore has to be the files' order. */
export function requireLittleEndian(): void {
  if (endianness() !== 'LE') {
    throw new CorpusError(
      'token corpora are little-endian, this machine is big-endian. Use a little-endian machine.',
    );
  }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
