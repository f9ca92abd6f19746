// Plain text files as documents.
import { CorpusError } from '../errors.js';
import {
  type InvalidUtf8Policy,
  listCorpusFiles,
  newReadReport,
  type ReadReport,
  readLines,
} from './files.js';
import { splitSentences } from './sentences.js';
import type { TextDocument } from './types.js';

export interface PlainTextOptions {
  /** Where a document ends: at each run of blank lines, or only at the end of its file. Default `blankLine`. */
  boundary?: 'blankLine' | 'file';
  /** Endings of the files taken from a folder. Default `['.txt']`. */
  extensions?: readonly string[];
  /** Default `error`: a wrong encoding should be noticed. `skip` leaves the whole document out. */
  invalidUtf8?: InvalidUtf8Policy;
  /** Counts of what was read, added to as documents are taken. */
  report?: ReadReport;
}

/**
 * Reads UTF-8 text files. Document ids are `name#n`, with the file's name below the folder given and n counted
 * from 0 within the file, so that they are the same on every machine.
 *
 * @param paths files or folders.
 * @throws CorpusError if a file cannot be read, is not UTF-8 (policy `error`), or there is no text at all.
 */
export function* readPlainText(
  paths: string | readonly string[],
  options: PlainTextOptions = {},
): Generator<TextDocument> {
  const { boundary = 'blankLine', extensions = ['.txt'], invalidUtf8 = 'error' } = options;
  const report = options.report ?? newReadReport();
  let yielded = 0;
  for (const file of listCorpusFiles(paths, extensions)) {
    let number = 0;
    let sentences: string[] = [];
    let valid = true;
    const finish = (): TextDocument | undefined => {
      const document = { id: `${file.name}#${number}`, sentences, source: file.name };
      const keep = sentences.length > 0 && (valid || invalidUtf8 === 'replace');
      // A document that is left out keeps its number: the policy must not rename the documents after it.
      if (sentences.length > 0) number++;
      if (sentences.length > 0 && !keep) report.documentsSkipped++;
      sentences = [];
      valid = true;
      return keep ? document : undefined;
    };
    const counted = (document: TextDocument): TextDocument => {
      yielded++;
      report.documents++;
      return document;
    };
    for (const line of readLines(file.path, invalidUtf8, report)) {
      if (!line.valid) valid = false;
      const text = line.text.trim();
      if (text !== '') {
        for (const sentence of splitSentences(text)) sentences.push(sentence);
      } else if (boundary === 'blankLine') {
        const document = finish();
        if (document !== undefined) yield counted(document);
      }
    }
    if (sentences.length === 0) {
      if (number === 0) report.emptyDocuments++;
      continue;
    }
    const document = finish();
    if (document !== undefined) yield counted(document);
  }
  if (yielded === 0) throw new CorpusError(emptyCorpusMessage(paths, report));
}

/** The text of the error for paths that gave no document. */
export function emptyCorpusMessage(paths: string | readonly string[], report: ReadReport): string {
  const where = typeof paths === 'string' ? paths : paths.join(', ');
  const skipped = report.documentsSkipped + report.invalidJsonLines;
  if (skipped > 0) {
    return `no document left in ${where}: all ${skipped} were skipped. Repair the files, or choose another policy than 'skip'.`;
  }
  return `no text in ${where} (${report.files} files, ${report.bytes} bytes). Name files that hold text.`;
}
