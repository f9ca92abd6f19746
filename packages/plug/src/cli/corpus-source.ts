// The settings that say where text comes from, shared by the commands that read a corpus, and the reading itself.
import { statSync } from 'node:fs';
import { z } from 'zod';
import { listCorpusFiles } from '../corpus/files.js';
import {
  type InvalidUtf8Policy,
  newReadReport,
  type PoetryCollection,
  poetryCollections,
  type ReadReport,
  readJsonLines,
  readPlainText,
  readPoetryDocuments,
  splitSentences,
  type TextDocument,
} from '../corpus/index.js';
import { ConfigError } from '../errors.js';
import { findTask, readInputs } from '../finetune/index.js';

const TEXT = ['.txt'];
const JSON_LINES = ['.jsonl', '.ndjson'];

/** Fields to spread into a command's schema. */
export const sourceFields = {
  corpus: z
    .array(z.string())
    .default([])
    .describe(
      'files or folders: plain text (.txt) or JSON lines (.jsonl, .ndjson), told apart by the ending',
    ),
  poetry: z
    .array(z.enum(['all', ...poetryCollections]))
    .default([])
    .describe('collections of the chinese-poetry package, poems of one author joined into documents'),
  task: z
    .string()
    .optional()
    .describe('name of a task or a task file: the texts of the rows in --task-data, without their labels'),
  taskData: z.array(z.string()).default([]).describe('files of that task, labelled or not; never test files'),
  poetryLimit: z.int().min(1).optional().describe('at most this many poems of each collection'),
  boundary: z
    .enum(['blankLine', 'file'])
    .default('blankLine')
    .describe('where a document ends in plain text'),
  textField: z.string().default('text').describe('field of a JSON line that holds the text'),
  idField: z.string().optional().describe('field of a JSON line that names the document'),
  invalidUtf8: z
    .enum(['error', 'replace', 'skip'])
    .default('error')
    .describe('bytes that are not UTF-8: stop, put U+FFFD, or leave the document out'),
  invalidJson: z
    .enum(['error', 'skip'])
    .default('error')
    .describe('lines that are not usable JSON: stop, or leave them out'),
} as const;

/** The values of those fields. */
export interface SourceSettings {
  readonly corpus: readonly string[];
  readonly poetry: readonly ('all' | PoetryCollection)[];
  readonly task?: string | undefined;
  readonly taskData: readonly string[];
  readonly poetryLimit?: number | undefined;
  readonly boundary: 'blankLine' | 'file';
  readonly textField: string;
  readonly idField?: string | undefined;
  readonly invalidUtf8: InvalidUtf8Policy;
  readonly invalidJson: 'error' | 'skip';
}

/** What was read, filled while the documents are taken. */
export interface SourceReport extends ReadReport {
  poetryDocuments: number;
}

export function newSourceReport(): SourceReport {
  return { ...newReadReport(), poetryDocuments: 0 };
}

/**
 * The texts of a task's rows, a document each.
 * @throws ConfigError when only one of task and data is given, CorpusError when a file cannot be read
 */
export async function readTaskDocuments({ task: name, taskData }: SourceSettings): Promise<TextDocument[]> {
  if (name === undefined && taskData.length === 0) return [];
  if (name === undefined || taskData.length === 0)
    throw new ConfigError('--task and --task-data go together: the task says which columns hold text.');
  const inputs = await readInputs(taskData, findTask(name));
  return inputs.map((input, index) => {
    const { id: _, ...fields } = input;
    const texts = Object.values(fields).flat() as string[];
    return { id: `${name} ${index}`, sentences: texts.flatMap((text) => splitSentences(text)), source: name };
  });
}

/**
 * The documents of all sources, files first, one at a time.
 * Throws ConfigError when there is no source, CorpusError when one cannot be read.
 */
export function* readSources(
  settings: SourceSettings,
  report: SourceReport,
  taskDocuments: readonly TextDocument[] = [],
): Generator<TextDocument> {
  if (settings.corpus.length === 0 && settings.poetry.length === 0 && taskDocuments.length === 0) {
    throw new ConfigError(
      'No text is given: name files with --corpus, or collections with --poetry (for example --poetry tang).',
    );
  }
  yield* taskDocuments;
  const { boundary, textField, idField, invalidUtf8, invalidJson } = settings;
  for (const path of settings.corpus) {
    const kinds = kindsOf(path);
    if (kinds.text) yield* readPlainText(path, { boundary, invalidUtf8, report });
    if (kinds.jsonLines) {
      yield* readJsonLines(path, {
        textField,
        ...(idField && { idField }),
        invalidUtf8,
        invalidJson,
        report,
      });
    }
  }
  if (settings.poetry.length > 0) {
    const all = settings.poetry.includes('all');
    const collections = all ? poetryCollections : (settings.poetry as readonly PoetryCollection[]);
    const limit = settings.poetryLimit;
    for (const document of readPoetryDocuments({ collections, ...(limit && { limit }) })) {
      report.poetryDocuments += 1;
      yield document;
    }
  }
}

/** Plain lines on what a reader had to pass over; empty when all was well. */
export function readingNotes(report: SourceReport): string[] {
  const notes: string[] = [];
  if (report.invalidUtf8Lines > 0) {
    const places = report.invalidUtf8Places.join(', ');
    notes.push(`${report.invalidUtf8Lines} lines held bytes that are not UTF-8 (${places})`);
  }
  if (report.documentsSkipped > 0)
    notes.push(`${report.documentsSkipped} documents were left out because of that`);
  if (report.invalidJsonLines > 0) notes.push(`${report.invalidJsonLines} JSON lines could not be used`);
  return notes;
}

function kindsOf(path: string): { text: boolean; jsonLines: boolean } {
  const endsIn = (name: string, endings: readonly string[]) =>
    endings.some((ending) => name.endsWith(ending));
  // A path that is not there is left to the readers, which say so.
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    const jsonLines = endsIn(path, JSON_LINES);
    return { text: !jsonLines, jsonLines };
  }
  const names = listCorpusFiles(path, [...TEXT, ...JSON_LINES]).map((file) => file.path);
  return {
    text: names.some((name) => endsIn(name, TEXT)),
    jsonLines: names.some((name) => endsIn(name, JSON_LINES)),
  };
}
