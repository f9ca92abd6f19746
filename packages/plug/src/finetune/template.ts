// Text of a row by declaration: the name of a column, or a template with columns in braces. Columns may lie deeper,
// `target.span1_text`; a list is joined.
import { nearestName } from '../config/index.js';
import { CorpusError } from '../errors.js';
import type { Row } from './rows.js';

/** Characters put around a part of a text that two columns name: what it says and where it begins. */
export interface Mark {
  /** Column with the part's text. */
  text: string;
  /** Column with the index of its first character. */
  at: string;
  before: string;
  after: string;
}

/** What stands between the entries of a list. */
const listSeparator = '、';

const placeholder = /\{([^{}]+)\}/g;

/** The columns that a declaration reads. */
export function columnsOf(declaration: string): string[] {
  const named = [...declaration.matchAll(placeholder)].map((match) => match[1]!);
  return named.length > 0 ? named : [declaration];
}

/** @throws CorpusError naming the column that is missing or no text */
export function textOf(row: Row, declaration: string): string {
  const text = declaration.includes('{')
    ? declaration.replace(placeholder, (_, column: string) => columnText(row, column))
    : columnText(row, declaration);
  if (text.trim() === '')
    throw new CorpusError(
      `${row.where}: column "${declaration}" is empty. Remove the row from the file, or give it a text.`,
    );
  return text;
}

/** The value of a column, undefined where there is none. */
export function columnValue({ values }: Row, column: string): unknown {
  if (Object.hasOwn(values, column)) return values[column];
  let value: unknown = values;
  for (const part of column.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function columnText(row: Row, column: string): string {
  const value = columnValue(row, column);
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string'))
    return value.join(listSeparator);
  throw unfit(row, column, 'text');
}

/** The error for a column that is not what it should be. */
export function unfit(row: Row, column: string, expected: string): CorpusError {
  const value = columnValue(row, column);
  const got = value === undefined ? 'is missing' : `is ${JSON.stringify(value)?.slice(0, 60)}`;
  const columns = Object.keys(row.values);
  const nearest = value === undefined ? nearestName(column, columns) : undefined;
  return new CorpusError(
    `${row.where}: column "${column}" ${got}, expected ${expected}. ` +
      `The row has: ${columns.join(', ') || 'nothing'}.${nearest ? ` Did you mean "${nearest}"?` : ''}`,
  );
}

/**
 * Puts marks around parts of a text.
 * @throws CorpusError when the text does not have a part where the row says
 */
export function marked(row: Row, text: string, marks: readonly Mark[]): string {
  // By code point, as Python, which wrote these indices, counts.
  const characters = [...text];
  const insertions: { at: number; put: string; closes: boolean }[] = [];
  for (const mark of marks) {
    const [part, at] = [columnValue(row, mark.text), columnValue(row, mark.at)];
    if (typeof part !== 'string') throw unfit(row, mark.text, 'text');
    if (typeof at !== 'number') throw unfit(row, mark.at, 'an index');
    const end = at + [...part].length;
    const found = characters.slice(at, end).join('');
    if (found !== part)
      throw new CorpusError(
        `${row.where}: the text has "${found}" at ${at}, and not "${part}" (${mark.text}).`,
      );
    insertions.push({ at, put: mark.before, closes: false }, { at: end, put: mark.after, closes: true });
  }
  // From the end, so that indices stay right; where one part ends and another begins, the last put in stands first.
  insertions.sort((a, b) => b.at - a.at || Number(a.closes) - Number(b.closes));
  for (const { at, put } of insertions) characters.splice(at, 0, put);
  return characters.join('');
}
