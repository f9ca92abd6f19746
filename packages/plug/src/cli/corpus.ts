// `plug corpus`: turns text into a token corpus, and says what is in one.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { formatColumns } from '../config/index.js';
import {
  type MappedTokenCorpus,
  openTokenCorpus,
  type TextDocument,
  vocabularySha256,
  writeTokenCorpus,
} from '../corpus/index.js';
import { ConfigError, CorpusError } from '../errors.js';
import { loadTokenizer } from '../text/index.js';
import { defineCommand, defineGroup } from './command.js';
import {
  newSourceReport,
  readingNotes,
  readSources,
  readTaskDocuments,
  sourceFields,
} from './corpus-source.js';
import { createProgress } from './progress.js';

const SPLITS = ['train', 'heldOut'] as const;

export function registerCorpus(program: Command): void {
  const group = defineGroup(program, 'corpus', 'turn text into a token corpus; look into one');
  registerBuild(group);
  registerInfo(group);
}

function registerBuild(group: Command): void {
  defineCommand(group, {
    name: 'build',
    summary: 'encode text, JSON lines or poems into a folder with the splits train and heldOut',
    schema: z.strictObject({
      ...sourceFields,
      tokenizer: z.string().describe('folder with vocab.txt, or a vocab.txt'),
      out: z.string().describe('folder to write'),
      heldOutFraction: z
        .number()
        .min(0)
        .max(1)
        .default(0.01)
        .describe('share of documents kept for evaluation, chosen by the hash of their names'),
      shardBytes: z
        .int()
        .min(1)
        .default(256 * 2 ** 20)
        .describe('a file of tokens is closed before it would pass this size'),
      maxDocuments: z.int().min(1).optional().describe('stop after this many documents'),
      overwrite: z.boolean().default(false).describe('replace a corpus that is already there'),
    }),
    examples: [
      [
        'plug corpus build --poetry tang song --tokenizer runs/vocabulary --out runs/poetry',
        'Tang and Song poems',
      ],
      [
        'plug corpus build --corpus texts/ --tokenizer vocab.txt --held-out-fraction 0.05 --out runs/texts',
        'own files',
      ],
      [
        'plug corpus build --task tnews --task-data data/tnews/train.json --tokenizer runs/vocabulary --out runs/task-texts',
        "a task's texts, to go on pre-training on",
      ],
    ],
    async run({ settings }) {
      const { heldOutFraction, shardBytes, overwrite, maxDocuments } = settings;
      const tokenizer = loadTokenizer(settings.tokenizer);
      const report = newSourceReport();
      const documents = take(readSources(settings, report, await readTaskDocuments(settings)), maxDocuments);
      const progress = createProgress({ label: 'encoding', total: maxDocuments ?? 0, unit: 'documents' });
      const onProgress = (done: number) => progress.update(done);
      const options = { heldOutFraction, shardBytes, overwrite, onProgress };
      const summary = writeTokenCorpus(settings.out, documents, tokenizer, options);
      progress.finish();
      return { ...summary, notes: readingNotes(report) };
    },
    render(result) {
      const rows = SPLITS.map((split) => {
        const { documents, sentences, tokens, characters } = result[split];
        return [
          split,
          ...[documents, sentences, tokens, characters].map((count) => count.toLocaleString('en')),
        ];
      });
      const table = formatColumns([['split', 'documents', 'sentences', 'tokens', 'characters'], ...rows]);
      const empty = result.emptyDocuments > 0 ? [`${result.emptyDocuments} documents held no token`] : [];
      return [`Token corpus: ${result.folder}`, table, ...empty, ...result.notes].join('\n');
    },
  });
}

function* take(documents: Iterable<TextDocument>, count = Number.POSITIVE_INFINITY): Generator<TextDocument> {
  let taken = 0;
  for (const document of documents) {
    yield document;
    taken += 1;
    if (taken >= count) return;
  }
}

function registerInfo(group: Command): void {
  defineCommand(group, {
    name: 'info',
    summary: 'say what a token corpus holds, and show one of its documents',
    words: [{ name: '<folder>', description: 'folder of a token corpus' }],
    schema: z.strictObject({
      verify: z.boolean().default(false).describe('read every file and compare its checksum'),
      tokenizer: z.string().optional().describe('the tokenizer it was made with, to show text'),
      split: z.enum(SPLITS).default('train').describe('the split of the document to show'),
      document: z.int().min(0).default(0).describe('number of the document to show (with --tokenizer)'),
    }),
    examples: [
      ['plug corpus info runs/poetry', 'sizes of both splits'],
      ['plug corpus info runs/poetry --tokenizer runs/vocabulary --document 7', 'and the text of a document'],
    ],
    run({ settings, words: [folder = ''] }) {
      const { verify, tokenizer, split } = settings;
      const splits = SPLITS.filter((name) => existsSync(join(folder, name)));
      if (splits.length === 0) {
        throw new CorpusError(
          `${folder} holds no token corpus: expected the folders train and heldOut in it.`,
        );
      }
      const described = splits.map((name) =>
        describeSplit(name, openTokenCorpus(join(folder, name), { verify })),
      );
      const shown = tokenizer ? showDocument(join(folder, split), tokenizer, settings.document) : undefined;
      return { folder, verified: verify, splits: described, ...(shown && { document: shown }) };
    },
    render(result) {
      const header = [
        'split',
        'documents',
        'tokens',
        'tokens per document (least, median, most)',
        'vocabulary',
        'shards',
      ];
      const rows = result.splits.map((split) => [
        split.split,
        split.documents.toLocaleString('en'),
        split.tokens.toLocaleString('en'),
        `${split.lengths.least}, ${split.lengths.median}, ${split.lengths.most}`,
        String(split.vocabSize),
        String(split.shards),
      ]);
      const text = result.document ? `\n\n${result.document.sentences.join('\n')}` : '';
      return `${formatColumns([header, ...rows])}${text}`;
    },
  });
}

function describeSplit(split: string, corpus: MappedTokenCorpus) {
  const lengths = Float64Array.from({ length: corpus.numDocuments }, (_, index) =>
    corpus.documentLength(index),
  ).sort();
  const { numDocuments: documents, numTokens: tokens } = corpus;
  const { vocabSize, dtype, heldOutFraction, numCharacters: characters, shards } = corpus.index;
  corpus.close();
  return {
    split,
    documents,
    tokens,
    characters,
    lengths: { least: lengths[0] ?? 0, median: lengths[documents >> 1] ?? 0, most: lengths.at(-1) ?? 0 },
    vocabSize,
    dtype,
    heldOutFraction,
    shards: shards.length,
  };
}

/** One document as text, a sentence an entry. */
function showDocument(folder: string, tokenizerPath: string, number: number) {
  const corpus = openTokenCorpus(folder);
  const tokenizer = loadTokenizer(tokenizerPath);
  const { vocabularySha256: expected } = corpus.index;
  if (expected !== null && vocabularySha256(tokenizer) !== expected) {
    throw new ConfigError(
      `${tokenizerPath} is not the vocabulary that ${folder} was made with: its text would be wrong.`,
    );
  }
  if (number >= corpus.numDocuments) {
    throw new ConfigError(
      `document: got ${number}, but ${folder} has ${corpus.numDocuments} documents (counted from 0).`,
    );
  }
  const { tokens, sentenceStarts } = corpus.document(number);
  const sentences = Array.from(sentenceStarts, (start, index) =>
    tokenizer.decode(tokens.subarray(start, sentenceStarts[index + 1] ?? tokens.length)),
  );
  corpus.close();
  return { number, sentences };
}
