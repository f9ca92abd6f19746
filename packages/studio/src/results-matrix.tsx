// The confusion matrix as a table: each wrong cell is a button that asks for its errors. The whole is one stop of the
// tab key; arrow keys go from button to button.
import { useState } from 'preact/hooks';
import type { ErrorFilter, Label } from './results-api.js';
import { readableMatrix, shadeOf } from './results-view.js';
import type { Texts } from './texts.js';
import { Wide } from './wide.js';

/** More columns than this are no longer read, least of all on a phone. */
const MAX_LABELS = 15;

interface Props {
  t: Texts['resultsPage'];
  confusion: readonly number[][];
  labels: readonly Label[];
  filter: ErrorFilter;
  /** False where the errors were not kept: then the numbers are no buttons. */
  canChoose: boolean;
  choose: (label: string, predicted: string) => void;
}

const STEPS: Record<string, readonly [rows: number, columns: number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

export function Matrix({ t, confusion, labels, filter, canChoose, choose }: Props) {
  const [entry, setEntry] = useState<string>();
  const { labels: shown, cells } = readableMatrix(confusion, labels, MAX_LABELS);
  const isButton = (row: number, column: number): boolean =>
    canChoose &&
    row !== column &&
    shown[row] !== undefined &&
    shown[column] !== undefined &&
    cells[row]![column]! > 0;
  const keyOf = (row: number, column: number): string => `${row}-${column}`;
  const all = cells.flatMap((line, row) =>
    line.flatMap((_, column) => (isButton(row, column) ? [keyOf(row, column)] : [])),
  );
  const stop = entry !== undefined && all.includes(entry) ? entry : all[0];

  const move = (event: KeyboardEvent & { currentTarget: HTMLElement }, row: number, column: number) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    let [toRow, toColumn] = [row + step[0], column + step[1]];
    while (cells[toRow]?.[toColumn] !== undefined && !isButton(toRow, toColumn)) {
      toRow += step[0];
      toColumn += step[1];
    }
    const table = event.currentTarget.closest('table');
    table?.querySelector<HTMLElement>(`[data-cell="${keyOf(toRow, toColumn)}"]`)?.focus();
  };

  return (
    <section class="card" aria-labelledby="results-confusion">
      <h3 id="results-confusion">{t.confusion}</h3>
      <Wide label={t.confusion}>
        <table class="matrix">
          <thead>
            <tr>
              <th scope="col">
                {t.gold} ╲ {t.predicted}
              </th>
              {shown.map((label, column) => (
                <th key={column} scope="col" title={label?.word}>
                  {label ? labelText(label) : t.rest}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {cells.map((line, row) => {
              const total = line.reduce((sum, count) => sum + count, 0);
              const gold = shown[row];
              return (
                <tr key={row}>
                  <th scope="row">{gold ? labelText(gold) : t.rest}</th>
                  {line.map((count, column) => {
                    const predicted = shown[column];
                    const shade = `${row === column ? 'right' : 'wrong'}-${shadeOf(count, total)}`;
                    if (!gold || !predicted || !isButton(row, column))
                      return (
                        <td key={column} class={shade}>
                          {count || <span class="quiet">·</span>}
                        </td>
                      );
                    const isChosen = filter.label === gold.name && filter.predicted === predicted.name;
                    const key = keyOf(row, column);
                    return (
                      <td key={column} class={shade}>
                        <button
                          type="button"
                          data-cell={key}
                          tabIndex={key === stop ? 0 : -1}
                          aria-pressed={isChosen}
                          aria-label={`${t.gold} ${labelText(gold)}, ${t.predicted} ${labelText(predicted)}: ${count}`}
                          onFocus={() => setEntry(key)}
                          onKeyDown={(event) => move(event, row, column)}
                          onClick={() => (isChosen ? choose('', '') : choose(gold.name, predicted.name))}
                        >
                          {count}
                        </button>
                      </td>
                    );
                  })}
                </tr>
              );
            })}
          </tbody>
        </table>
      </Wide>
      <p class="quiet">
        {canChoose && t.confusionNote} {labels.length > MAX_LABELS && t.confusionTop}
      </p>
    </section>
  );
}

export function labelText({ name, word }: Label): string {
  return word === undefined || word === name ? name : `${name} ${word}`;
}
