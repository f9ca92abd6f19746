// JSON lines files as documents: one JSON object a line.
import { CorpusError } from '../errors.js';
import {
  type InvalidUtf8Policy,
  listCorpusFiles,
  newReadReport,
  type ReadReport,
  readLines,
} from './files.js';
import { emptyCorpusMessage } from './plain-text.js';
import { splitSentences } from './sentences.js';
import type { TextDocument } from './types.js';

export interface JsonLinesOptions {
  /** Field with the text: a string, or an array of strings that are paragraphs. Default `text`. */
  textField?: string;
  /** Field with the document's name, a string or a number. Default: `file name#line`. */
  idField?: string;
  /** Endings of the files taken from a folder. Default `['.jsonl', '.ndjson']`. */
  extensions?: readonly string[];
  /** Default `error`. `skip` leaves the line out. */
  invalidUtf8?: InvalidUtf8Policy;
  /** What to do with a line that is not a JSON object with the fields. Default `error`. */
  invalidJson?: 'skip' | 'error';
  /** Counts of what was read, added to as documents are taken. */
  report?: ReadReport;
}

/**
 * Reads UTF-8 JSON lines files; blank lines are passed over.
 *
 * @param paths files or folders.
 * @throws CorpusError if a file cannot be read, a line cannot be used (policies `error`), or there is no text.
 */
export function* readJsonLines(
  paths: string | readonly string[],
  options: JsonLinesOptions = {},
): Generator<TextDocument> {
  const { textField = 'text', idField, extensions = ['.jsonl', '.ndjson'] } = options;
  const { invalidUtf8 = 'error', invalidJson = 'error' } = options;
  const report = options.report ?? newReadReport();
  let yielded = 0;
  for (const file of listCorpusFiles(paths, extensions)) {
    for (const line of readLines(file.path, invalidUtf8, report)) {
      if (line.text.trim() === '') continue;
      if (!line.valid && invalidUtf8 === 'skip') {
        report.documentsSkipped++;
        continue;
      }
      const fields = parseFields(line.text, textField, idField);
      if (typeof fields === 'string') {
        report.invalidJsonLines++;
        if (invalidJson === 'skip') continue;
        throw new CorpusError(
          `${file.path}:${line.number}: ${fields}. Repair the line, name the right field, or set invalidJson to 'skip'.`,
        );
      }
      const sentences = fields.paragraphs
        .map((paragraph) => paragraph.trim())
        .filter((paragraph) => paragraph !== '')
        .flatMap(splitSentences);
      if (sentences.length === 0) {
        report.emptyDocuments++;
        continue;
      }
      yielded++;
      report.documents++;
      yield { id: fields.id ?? `${file.name}#${line.number}`, sentences, source: file.name };
    }
  }
  if (yielded === 0) throw new CorpusError(emptyCorpusMessage(paths, report));
}

/** The fields of a line, or what is wrong with it. */
function parseFields(
  text: string,
  textField: string,
  idField: string | undefined,
): { paragraphs: string[]; id: string | undefined } | string {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (cause) {
    return `not JSON (${(cause as Error).message})`;
  }
  if (typeof record !== 'object' || record === null || Array.isArray(record)) return 'expected a JSON object';
  const fields = record as Record<string, unknown>;
  const value = fields[textField];
  const paragraphs = typeof value === 'string' ? [value] : value;
  if (!Array.isArray(paragraphs) || !paragraphs.every((paragraph) => typeof paragraph === 'string')) {
    const got =
      value === undefined
        ? `it is missing (fields: ${Object.keys(fields).join(', ')})`
        : `got ${typeof value}`;
    return `field '${textField}' should be a string or an array of strings, ${got}`;
  }
  if (idField === undefined) return { paragraphs, id: undefined };
  const id = fields[idField];
  if (typeof id !== 'string' && typeof id !== 'number') {
    return `field '${idField}' should be a string or a number, got ${id === undefined ? 'nothing' : typeof id}`;
  }
  return { paragraphs, id: String(id) };
}
