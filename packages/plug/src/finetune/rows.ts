// Rows of data files: JSON lines, a JSON array, CSV, TSV or Parquet.
// CSV by csv-parse and Parquet by hyparquet: the best-kept parsers of both, without native code. Loaded where they are
// used, as few programs that read rows meet such files, and loading them takes a tenth of a second.
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { newReadReport, readable, readLines } from '../corpus/files.js';
import { CorpusError } from '../errors.js';

/** One row of a file, with where it stands for errors. */
export interface Row {
  values: Readonly<Record<string, unknown>>;
  where: string;
}

/** Rows at fault that an error explains; of more it tells how many there are, and where the first of them stand. */
const shownFaults = 3;
const namedFaults = 10;

/** Endings of the files that can be read. */
export const fileEndings = ['.json', '.jsonl', '.ndjson', '.csv', '.tsv', '.parquet'] as const;

/**
 * All rows of a file, by its ending; what ends otherwise is taken for JSON.
 * @throws CorpusError naming file and row of what cannot be read
 */
export async function readRows(path: string): Promise<Row[]> {
  switch (extname(path).toLowerCase()) {
    case '.csv':
      return await separatedRows(path, ',');
    case '.tsv':
      return await separatedRows(path, '\t');
    case '.parquet':
      return await parquetRows(path);
    default:
      return [...jsonRows(path)];
  }
}

/**
 * Maps rows.
 * @throws CorpusError for all rows that cannot be used at once, so that a file is mended in one go
 */
export function withAllFaults<From extends { row: Row }, To>(
  rows: readonly From[],
  use: (row: From) => To,
): To[] {
  const faults: CorpusError[] = [];
  const places: string[] = [];
  const used = rows.map((row) => {
    try {
      return use(row);
    } catch (error) {
      if (!(error instanceof CorpusError)) throw error;
      faults.push(error);
      places.push(row.row.where);
      return undefined as To;
    }
  });
  if (faults.length === 0) return used;
  const messages = faults.slice(0, shownFaults).map(({ message }) => message);
  if (faults.length > 1) {
    const named = places.slice(0, namedFaults).join('; ') + (places.length > namedFaults ? '; …' : '');
    messages.push(
      `${faults.length} of ${rows.length} rows cannot be used. Mend them or remove them: ${named}.`,
    );
  }
  throw new CorpusError(messages.join('\n'), { cause: faults[0] });
}

/** A JSON document that is no list of rows. */
export function readDocument(path: string): unknown {
  return parseJson(textOfFile(path), path);
}

function* jsonRows(path: string): Generator<Row> {
  let first = true;
  for (const { text, number } of readLines(path, 'error', newReadReport())) {
    if (text.trim() === '') continue;
    // A line of JSON lines is an object, so a bracket can only begin an array of all rows.
    if (first && text.trimStart().startsWith('[')) {
      yield* arrayRows(path);
      return;
    }
    first = false;
    const where = `${path}, line ${number}`;
    yield checkedRow(parseJson(text, where), where);
  }
}

function* arrayRows(path: string): Generator<Row> {
  for (const [index, row] of (readDocument(path) as unknown[]).entries()) {
    const where = `${path}, row ${index + 1}`;
    yield checkedRow(row, where);
  }
}

/** The first line names the columns. Quotes mean something in CSV alone: TSV of Chinese text has stray ones. */
async function separatedRows(path: string, delimiter: string): Promise<Row[]> {
  const { CsvError, parse } = await import('csv-parse/sync');
  try {
    const records = parse(textOfFile(path), {
      columns: true,
      delimiter,
      quote: delimiter === ',' ? '"' : null,
      skip_empty_lines: true,
      info: true,
    }) as unknown as { record: Record<string, string>; info: { lines: number } }[];
    return records.map(({ record, info }) => ({ values: record, where: `${path}, line ${info.lines}` }));
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new CorpusError(`${path}: ${error.message}. The first line must name the columns.`, {
      cause: error,
    });
  }
}

async function parquetRows(path: string): Promise<Row[]> {
  const bytes = readable(path, () => readFileSync(path));
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const { parquetReadObjects } = await import('hyparquet');
  try {
    const records = await parquetReadObjects({ file });
    return records.map((record, index) => ({
      values: Object.fromEntries(Object.entries(record).map(([name, value]) => [name, plain(value)])),
      where: `${path}, row ${index + 1}`,
    }));
  } catch (error) {
    throw new CorpusError(`${path}: not a Parquet file that can be read (${(error as Error).message}).`, {
      cause: error,
    });
  }
}

/** Parquet's 64-bit integers as numbers, as JSON has them. */
function plain(value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

function textOfFile(path: string): string {
  let text = '';
  for (const line of readLines(path, 'error', newReadReport())) text += `${line.text}\n`;
  return text;
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CorpusError(`${where}: not JSON (${(cause as Error).message}).`, { cause });
  }
}

function checkedRow(row: unknown, where: string): Row {
  if (typeof row !== 'object' || row === null || Array.isArray(row))
    throw new CorpusError(`${where}: expected a JSON object, got ${JSON.stringify(row)?.slice(0, 60)}.`);
  return { values: row as Record<string, unknown>, where };
}
