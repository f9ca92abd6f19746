// Tables for the terminal and for Markdown, in which Chinese characters take two columns.
// Laid out here rather than by a table library: two small formats over string-width, which does the hard part.
import stringWidth from 'string-width';
import { ConfigError } from '../errors.js';

/** One column of a table. */
export interface TableColumn {
  header: string;
  /** Default 'left'; 'right' suits numbers. */
  align?: 'left' | 'right';
}

/** Rows hold one text for each column. */
export type TableRows = readonly (readonly string[])[];

/**
 * Lines for the terminal: header, rule, rows, two spaces between columns, no space at the end of a line.
 * Throws ConfigError when a row has another number of cells than there are columns.
 */
export function terminalTable(columns: readonly TableColumn[], rows: TableRows): string {
  const cells = layOut(columns, rows, (text) => text.replace(/\s*\n\s*/g, ' '));
  const widths = columnWidths(cells);
  const lines = cells.map((row) =>
    row
      .map((text, c) => pad(text, widths[c]!, columns[c]!.align))
      .join('  ')
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => '─'.repeat(width)).join('  '));
  return `${lines.join('\n')}\n`;
}

/**
 * A GitHub-flavoured Markdown table, its source aligned too. Bars are escaped and line breaks become <br>.
 * Throws ConfigError when a row has another number of cells than there are columns.
 */
export function markdownTable(columns: readonly TableColumn[], rows: TableRows): string {
  const cells = layOut(columns, rows, (text) => text.replace(/\|/g, '\\|').replace(/\n/g, '<br>'));
  const widths = columnWidths(cells).map((width) => Math.max(3, width));
  const lines = cells.map(
    (row) => `| ${row.map((text, c) => pad(text, widths[c]!, columns[c]!.align)).join(' | ')} |`,
  );
  const rule = widths.map((width, c) =>
    columns[c]!.align === 'right' ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  );
  lines.splice(1, 0, `| ${rule.join(' | ')} |`);
  return `${lines.join('\n')}\n`;
}

/** Fills up with spaces to a width in terminal columns; a text that is wider already stays as it is. */
export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const fill = ' '.repeat(Math.max(0, width - stringWidth(text)));
  return align === 'right' ? fill + text : text + fill;
}

/** Header and rows, each cell made safe for the format. */
function layOut(
  columns: readonly TableColumn[],
  rows: TableRows,
  clean: (text: string) => string,
): string[][] {
  for (const [i, row] of rows.entries()) {
    if (row.length !== columns.length) {
      throw new ConfigError(`Row ${i} of the table has ${row.length} cells for ${columns.length} columns.`);
    }
  }
  return [columns.map(({ header }) => header), ...rows].map((row) => row.map(clean));
}

function columnWidths(cells: readonly string[][]): number[] {
  return cells[0]!.map((_, c) => Math.max(...cells.map((row) => stringWidth(row[c]!))));
}
