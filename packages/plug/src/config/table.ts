// Shows resolved settings as a table with the origin of each value, aligned also where values hold Chinese text.
import stringWidth from 'string-width';
import { describeFields, type SettingsSchema } from './fields.js';
import type { ResolvedSettings } from './settings.js';

/** Rows of texts as aligned columns, two spaces between them; full-width characters count as two columns. */
export function formatColumns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, stringWidth(cell));
    });
  }
  const lines = rows.map((row) => {
    const cells = row.map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - stringWidth(cell)));
    return cells.join('  ').trimEnd();
  });
  return lines.join('\n');
}

/** The table of a command's settings: key, value, origin. */
export function formatSettings<Schema extends SettingsSchema>(
  schema: Schema,
  { settings, origins }: ResolvedSettings<Schema>,
): string {
  const values = settings as Record<string, unknown>;
  const sources = origins as Record<string, string>;
  const rows = describeFields(schema).map(({ key }) => [key, show(values[key]), sources[key] ?? 'default']);
  return formatColumns([['setting', 'value', 'origin'], ...rows]);
}

/** Writes that table to stderr (or another stream). */
export function printSettings<Schema extends SettingsSchema>(
  schema: Schema,
  resolved: ResolvedSettings<Schema>,
  stream: NodeJS.WritableStream = process.stderr,
): void {
  stream.write(`${formatSettings(schema, resolved)}\n`);
}

function show(value: unknown): string {
  if (value === undefined) return '–';
  if (Array.isArray(value)) return value.map(show).join(', ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}
