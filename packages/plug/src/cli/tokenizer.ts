// `plug tokenizer`: trains a vocabulary, and turns text into ids and back.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import type { TextDocument } from '../corpus/index.js';
import { ConfigError } from '../errors.js';
import { loadTokenizer, tokenizerFromVocabulary, trainVocabulary } from '../text/index.js';
import { defineCommand, defineGroup } from './command.js';
import {
  newSourceReport,
  readingNotes,
  readSources,
  readTaskDocuments,
  type SourceReport,
  type SourceSettings,
  sourceFields,
} from './corpus-source.js';
import { createProgress } from './progress.js';

export function registerTokenizer(program: Command): void {
  const group = defineGroup(program, 'tokenizer', 'train a vocabulary; turn text into ids and back');
  registerTrain(group);
  registerEncode(group);
  registerDecode(group);
}

function registerTrain(group: Command): void {
  defineCommand(group, {
    name: 'train',
    summary: 'train a WordPiece vocabulary and save it as vocab.txt and tokenizer_config.json',
    schema: z.strictObject({
      ...sourceFields,
      out: z.string().describe('folder to write'),
      vocabSize: z.int().min(6).default(8192).describe('entries at most, the five special tokens included'),
      minFrequency: z.int().min(1).default(2).describe('occurrences that a character or piece needs'),
      lowerCase: z.boolean().default(true).describe('lower case Latin letters and strip their accents'),
      overwrite: z.boolean().default(false).describe('replace a vocabulary that is already there'),
    }),
    examples: [
      [
        'plug tokenizer train --poetry tang song --out runs/vocabulary',
        'characters of the Tang and Song poems',
      ],
      [
        'plug tokenizer train --corpus novel.txt web.jsonl --vocab-size 21128 --out runs/vocabulary',
        'own files',
      ],
    ],
    async run({ settings }) {
      const { out, vocabSize, minFrequency, lowerCase: doLowerCase } = settings;
      if (existsSync(join(out, 'vocab.txt')) && !settings.overwrite) {
        throw new ConfigError(
          `${join(out, 'vocab.txt')} exists already. Choose another --out, or give --overwrite.`,
        );
      }
      const report = newSourceReport();
      const counts = { documents: 0, characters: 0 };
      const texts = textsOf(settings, report, counts, await readTaskDocuments(settings));
      const tokens = trainVocabulary(texts, { vocabSize, minFrequency, doLowerCase });
      mkdirSync(out, { recursive: true });
      tokenizerFromVocabulary(tokens, { doLowerCase }).save(out);
      return { folder: out, vocabSize: tokens.length, ...counts, notes: readingNotes(report) };
    },
    render: (result) =>
      [
        `${result.vocabSize} entries from ${result.documents} documents (${result.characters} characters): ${result.folder}`,
        ...result.notes,
      ].join('\n'),
  });
}

function* textsOf(
  settings: SourceSettings,
  report: SourceReport,
  counts: { documents: number; characters: number },
  taskDocuments: readonly TextDocument[],
): Generator<string> {
  const progress = createProgress({ label: 'reading', total: 0, unit: 'documents' });
  for (const document of readSources(settings, report, taskDocuments)) {
    const text = document.sentences.join('\n');
    counts.documents += 1;
    counts.characters += text.length;
    progress.update(counts.documents);
    yield text;
  }
  progress.finish();
}

function registerEncode(group: Command): void {
  defineCommand(group, {
    name: 'encode',
    summary: 'print the ids of a text (no special tokens added)',
    words: [{ name: '[text...]', description: 'the text; without it, standard input is read' }],
    schema: z.strictObject({
      tokenizer: z.string().describe('folder with vocab.txt, or a vocab.txt'),
    }),
    examples: [
      ['plug tokenizer encode --tokenizer runs/vocabulary 春江潮水連海平', 'ids, separated by spaces'],
      ['plug tokenizer encode --tokenizer runs/vocabulary --json < poem.txt', 'ids and tokens'],
    ],
    run({ settings, words }) {
      const tokenizer = loadTokenizer(settings.tokenizer);
      const text = words.length > 0 ? words.join(' ') : readFileSync(0, 'utf8');
      const ids = Array.from(tokenizer.encode(text));
      return { ids, tokens: ids.map((id) => tokenizer.idToToken(id)) };
    },
    render: (result) => result.ids.join(' '),
  });
}

function registerDecode(group: Command): void {
  defineCommand(group, {
    name: 'decode',
    summary: 'print the text of ids',
    words: [{ name: '<ids...>', description: 'ids, separated by spaces or commas' }],
    schema: z.strictObject({
      tokenizer: z.string().describe('folder with vocab.txt, or a vocab.txt'),
      skipSpecialTokens: z
        .boolean()
        .default(true)
        .describe('leave out [CLS], [SEP], [PAD], [UNK] and [MASK]'),
    }),
    examples: [['plug tokenizer decode --tokenizer runs/vocabulary 101 3217 102', 'the text']],
    run({ settings, words }) {
      const tokenizer = loadTokenizer(settings.tokenizer);
      const ids = words
        .flatMap((word) => word.split(','))
        .filter(Boolean)
        .map(parseId);
      return { text: tokenizer.decode(ids, { skipSpecialTokens: settings.skipSpecialTokens }) };
    },
    render: (result) => result.text,
  });
}

function parseId(word: string): number {
  if (/^\d+$/.test(word)) return Number(word);
  throw new ConfigError(`"${word}" is no token id: expected whole numbers, as in 101 3217 102.`);
}
