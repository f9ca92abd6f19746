// A table that can be sorted, marks the best of its columns, and scrolls in its own frame with the first column fixed.
import type { ComponentChild } from 'preact';
import { useState } from 'preact/hooks';
import { bestRows, type SortDirection, sortedBy } from './results-view.js';
import type { Texts } from './texts.js';
import { Wide } from './wide.js';

export interface Column<Row> {
  title: string;
  /** What is sorted by. */
  value: (row: Row) => number | string | undefined;
  show: (row: Row) => ComponentChild;
  /** Figures stand to the right; the best of them is marked where it is said which is better. */
  better?: 'higher' | 'lower' | undefined;
  isFigure?: boolean;
  /** Left out of the search for the best. */
  isComparable?: (row: Row) => boolean;
}

interface Props<Row> {
  t: Texts['resultsPage'];
  title: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  isOwn: (row: Row) => boolean;
  /** Rows that can be compared with each other have the same. */
  groupOf?: (row: Row) => string;
}

export function ResultsTable<Row>({ t, title, columns, rows, keyOf, isOwn, groupOf }: Props<Row>) {
  const [sort, setSort] = useState<{ column: number; direction: SortDirection }>();
  const sorting = sort && columns[sort.column];
  const shown = sort && sorting ? sortedBy(rows, sorting.value, sort.direction) : rows;
  const best = columns.map(({ better, value, isComparable = () => true }) => {
    const figure = (row: Row): number | undefined => {
      const found = value(row);
      return typeof found === 'number' && isComparable(row) ? found : undefined;
    };
    return better ? bestRows(rows, figure, better, groupOf) : undefined;
  });
  const press = (column: number) => {
    const { better, isFigure } = columns[column]!;
    // The better end of figures first, the beginning of the alphabet for words.
    const first = better === 'lower' || !(better || isFigure) ? 'ascending' : 'descending';
    const second = first === 'ascending' ? 'descending' : 'ascending';
    setSort({ column, direction: sort?.column === column && sort.direction === first ? second : first });
  };
  return (
    <Wide label={title}>
      <table class="results">
        <thead>
          <tr>
            {columns.map(({ title: name, isFigure }, index) => {
              const direction = sort?.column === index ? sort.direction : undefined;
              return (
                <th key={name} scope="col" class={isFigure ? 'figure' : ''} aria-sort={direction ?? 'none'}>
                  <button type="button" onClick={() => press(index)}>
                    {name}
                    <span class="arrow" aria-hidden="true">
                      {direction === undefined ? '↕' : direction === 'ascending' ? '↑' : '↓'}
                    </span>
                  </button>
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => (
            <tr key={keyOf(row)} class={isOwn(row) ? 'own' : ''}>
              {columns.map(({ title: name, show, isFigure }, index) => {
                const isBest = best[index]?.has(row) ?? false;
                const content = (
                  <>
                    {show(row)}
                    {isBest && <span class="unseen"> ({t.best})</span>}
                  </>
                );
                const classes = `${isFigure ? 'figure' : ''} ${isBest ? 'best' : ''}`;
                return index === 0 ? (
                  <th key={name} scope="row">
                    {content}
                  </th>
                ) : (
                  <td key={name} class={classes}>
                    {content}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}
