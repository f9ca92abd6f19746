// The three tables: the CLUE board, generation, and all other tasks.
import { useState } from 'preact/hooks';
import type { BoardRow, Overview, Result } from './results-api.js';
import { boardColumns, generationColumns, otherColumns } from './results-columns.js';
import { ResultsTable } from './results-table.js';
import type { Texts } from './texts.js';

type Words = Texts['resultsPage'];

/** So many rows are taken in at a glance; more can be filtered. */
const FILTER_FROM = 8;

export function OverviewTables({ t, overview }: { t: Words; overview: Overview }) {
  const [filter, setFilter] = useState('');
  const { board, problems } = overview;
  const results = overview.results.filter(({ partOf }) => partOf === undefined);
  const sought = filter.trim().toLowerCase();
  const found = results.filter(({ run, task, start }) =>
    `${run} ${task.name} ${start.model}`.toLowerCase().includes(sought),
  );
  const generation = found.filter(({ task }) => task.kind === 'generation');
  const other = found.filter(({ task }) => task.kind !== 'generation');
  const common = { t, keyOf: ({ id }: Result) => id, isOwn: () => false, groupOf };
  return (
    <>
      <section class="card" aria-labelledby="results-board">
        <h2 id="results-board">{t.board}</h2>
        <ResultsTable
          t={t}
          title={t.board}
          columns={boardColumns(t, overview)}
          rows={board.rows}
          keyOf={boardKey}
          isOwn={({ own }) => own}
        />
        <p class="quiet">{t.boardNote}</p>
      </section>
      {results.length === 0 && <Empty t={t} />}
      {results.length > FILTER_FROM && (
        <label class="filter">
          {t.filter}
          <input type="search" value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
        </label>
      )}
      {results.length > 0 && found.length === 0 && <p role="status">{t.noMatch}</p>}
      {other.length > 0 && (
        <section class="card" aria-labelledby="results-other">
          <h2 id="results-other">{t.other}</h2>
          <ResultsTable {...common} title={t.other} columns={otherColumns(t)} rows={other} />
          <p class="quiet">{t.otherNote}</p>
        </section>
      )}
      {found.length > 0 && (generation.length > 0 || sought === '') && (
        <section class="card" aria-labelledby="results-generation">
          <h2 id="results-generation">{t.generation}</h2>
          {generation.length === 0 ? (
            <>
              <p class="quiet">{t.noGeneration}</p>
              <pre class="command">npx plug evaluate --model runs/lcsts --data data/lcsts</pre>
            </>
          ) : (
            <>
              <ResultsTable
                {...common}
                title={t.generation}
                columns={generationColumns(t)}
                rows={generation}
              />
              <p class="quiet">{t.generationNote}</p>
            </>
          )}
        </section>
      )}
      {problems.length > 0 && (
        <details class="card">
          <summary>
            {problems.length} {t.problems}
          </summary>
          <ul>
            {problems.map(({ file, message }) => (
              <li key={file}>
                <code>{file}</code>: {message}
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function Empty({ t }: { t: Words }) {
  return (
    <section class="card">
      <h2>{t.emptyTitle}</h2>
      <p>{t.empty}</p>
      <pre class="command">
        npx plug finetune ocnli --model runs/quickstart --data data/ocnli --out runs/clue/ocnli{'\n'}
        npx plug evaluate --model runs/clue/ocnli --data data/ocnli
      </pre>
    </section>
  );
}

/** Only scores on the same rows can be compared. */
function groupOf({ task, split }: Result): string {
  return JSON.stringify([task.name, split]);
}

function boardKey({ name, start }: BoardRow): string {
  return JSON.stringify([name, start]);
}
