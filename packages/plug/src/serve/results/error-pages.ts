// Wrong predictions by the page. A file may be large: its lines go through memory one at a time, and only the page stays.
import { linesOf } from './files.js';
import { type ErrorsAnswer, type ErrorsQuery, storedErrorRow } from './schemas.js';

const maxLineBytes = 2 ** 20;
/** Of one text; a page of long documents would take minutes to read anyway. */
const maxTextChars = 8000;

/** Rows in the order of the file, in which those that the model was surest of come first. */
export async function errorPage(
  path: string,
  { offset, limit, label, predicted, search }: ErrorsQuery,
  signal: AbortSignal,
): Promise<ErrorsAnswer> {
  const sought = search?.toLowerCase();
  const rows: ErrorsAnswer['rows'] = [];
  let total = 0;
  for await (const line of linesOf(path, maxLineBytes)) {
    signal.throwIfAborted();
    const row = rowOf(line);
    if (!row) continue;
    if (label !== undefined && String(row.gold) !== label) continue;
    if (predicted !== undefined && String(row.prediction) !== predicted) continue;
    if (sought !== undefined && !textsOf(row).some((text) => text.toLowerCase().includes(sought))) continue;
    if (total >= offset && rows.length < limit)
      rows.push({ ...row, input: cut(row.input) as typeof row.input, gold: cut(row.gold) });
    total++;
  }
  return { total, offset, limit, rows };
}

/** Undefined for a line that is none, as the last of a file that is being written. */
function rowOf(line: string): ErrorsAnswer['rows'][number] | undefined {
  try {
    return storedErrorRow.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** All texts in it, answers and candidates too. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsOf) : [];
}

function cut(value: unknown): unknown {
  if (typeof value === 'string')
    return value.length > maxTextChars ? `${value.slice(0, maxTextChars)}…` : value;
  if (Array.isArray(value)) return value.map(cut);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, cut(part)]));
}
