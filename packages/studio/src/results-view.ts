// What the tables of results show, worked out: order, best figures, and matrices small enough to read.
import type { FigureName, Label, Result } from './results-api.js';

export type SortDirection = 'ascending' | 'descending';

/** Rows by a value; those without one stay last whichever way it goes. */
export function sortedBy<Row>(
  rows: readonly Row[],
  read: (row: Row) => number | string | undefined,
  direction: SortDirection,
): Row[] {
  const sign = direction === 'ascending' ? 1 : -1;
  return [...rows].sort((a, b) => {
    const [left, right] = [read(a), read(b)];
    if (left === undefined || right === undefined)
      return Number(left === undefined) - Number(right === undefined);
    if (typeof left === 'number' && typeof right === 'number') return sign * (left - right);
    return sign * String(left).localeCompare(String(right), 'zh-CN', { numeric: true });
  });
}

/** The rows with the best value of their group. A group of one has no best: there is nothing that it is better than. */
export function bestRows<Row>(
  rows: readonly Row[],
  read: (row: Row) => number | undefined,
  better: 'higher' | 'lower',
  groupOf: (row: Row) => string = () => '',
): Set<Row> {
  const groups = new Map<string, { row: Row; value: number }[]>();
  for (const row of rows) {
    const value = read(row);
    if (value === undefined) continue;
    const group = groupOf(row);
    groups.set(group, [...(groups.get(group) ?? []), { row, value }]);
  }
  const sign = better === 'higher' ? 1 : -1;
  return new Set(
    [...groups.values()].flatMap((group) => {
      const best = Math.max(...group.map(({ value }) => sign * value));
      return group.length < 2 ? [] : group.flatMap(({ row, value }) => (sign * value === best ? [row] : []));
    }),
  );
}

/** The figure that stands for a result. */
export function mainFigure({ kind }: Result['task']): FigureName {
  if (kind === 'span') return 'f1';
  return kind === 'generation' ? 'bitsPerCharacter' : 'accuracy';
}

/** What a result's main figure may be off by, in its unit. */
export function plusMinus({ trials, figures }: Result): number | undefined {
  return trials?.kind === 'seeds' ? trials.standardDeviation : figures.standardError;
}

const inPercent = new Set<FigureName>([
  ...(['accuracy', 'macroF1', 'f1', 'exactMatch', 'bleu4'] as const),
  ...(['rouge1', 'rouge2', 'rougeL', 'distinct1', 'distinct2'] as const),
]);

/** A figure as it is printed: shares in percent. */
export function shownFigure(name: FigureName, value: number | undefined): string {
  if (value === undefined) return '–';
  return inPercent.has(name) ? (100 * value).toFixed(2) : value.toFixed(3);
}

/** A confusion matrix with at most `max` labels; `undefined` among the labels stands for all others. */
export interface Matrix {
  labels: (Label | undefined)[];
  cells: number[][];
}

/** Keeps the labels that take part in the most errors, in their order, and adds up the others. */
export function readableMatrix(
  confusion: readonly number[][],
  labels: readonly Label[],
  max: number,
): Matrix {
  if (labels.length <= max) return { labels: [...labels], cells: confusion.map((row) => [...row]) };
  const errorsOf = (label: number): number =>
    confusion.reduce(
      (sum, row, gold) =>
        sum +
        row.reduce(
          (part, count, at) => part + (gold !== at && (gold === label || at === label) ? count : 0),
          0,
        ),
      0,
    );
  const order = labels.map((_, index) => ({ index, errors: errorsOf(index) }));
  order.sort((a, b) => b.errors - a.errors || a.index - b.index);
  const kept = order
    .slice(0, max - 1)
    .map(({ index }) => index)
    .sort((a, b) => a - b);
  const placeOf = new Map(kept.map((label, place) => [label, place]));
  const cells = Array.from({ length: max }, () => new Array<number>(max).fill(0));
  for (const [gold, row] of confusion.entries())
    for (const [at, count] of row.entries())
      cells[placeOf.get(gold) ?? max - 1]![placeOf.get(at) ?? max - 1]! += count;
  return { labels: [...kept.map((label) => labels[label]!), undefined], cells };
}

/** Lower edges of the steps in which a cell is shaded, as a share of its row. */
const SHADES = [0.5, 0.25, 0.1, 0.02];

/** 0 for an empty cell, up to 5. */
export function shadeOf(count: number, rowTotal: number): number {
  if (count === 0) return 0;
  const place = SHADES.findIndex((edge) => count / rowTotal >= edge);
  return place < 0 ? 1 : SHADES.length + 1 - place;
}

/** A text in parts, of which some are to be marked: the first place of each thing sought. */
export function markedParts(text: string, sought: readonly string[]): { text: string; mark: boolean }[] {
  const places = sought
    .flatMap((part) => {
      const at = part === '' ? -1 : text.indexOf(part);
      return at < 0 ? [] : [{ from: at, to: at + part.length }];
    })
    .sort((a, b) => a.from - b.from);
  const parts: { text: string; mark: boolean }[] = [];
  let done = 0;
  for (const { from, to } of places) {
    if (to <= done) continue;
    if (from > done) parts.push({ text: text.slice(done, from), mark: false });
    parts.push({ text: text.slice(Math.max(from, done), to), mark: true });
    done = to;
  }
  if (done < text.length) parts.push({ text: text.slice(done), mark: false });
  return parts;
}
