// What a model got wrong: filters, pages, and the texts with what was right and what was said, one after the other.
import { useEffect, useRef, useState } from 'preact/hooks';
import { useAsking } from './asking.js';
import { Failure } from './failure.js';
import { type ErrorFilter, type ErrorPage, getErrors, type Label, type ResultDetail } from './results-api.js';
import { ErrorText } from './results-error-text.js';
import { labelText } from './results-matrix.js';
import type { Texts } from './texts.js';

const PAGE_SIZE = 20;
/** After the last key, so that not every letter is searched for. */
const SEARCH_DELAY_MS = 300;

export const noFilter: ErrorFilter = { label: '', predicted: '', search: '' };

interface Props {
  t: Texts;
  result: ResultDetail;
  filter: ErrorFilter;
  setFilter: (filter: ErrorFilter) => void;
}

export function Errors({ t: texts, result, filter, setFilter }: Props) {
  const t = texts.resultsPage;
  const { id, labels = [] } = result;
  const [typed, setTyped] = useState(filter.search);
  const [asked, setAsked] = useState({ filter, offset: 0 });
  const offset = asked.filter === filter ? asked.offset : 0;
  const { answer, failure, ask } = useAsking<ErrorPage & { filter: ErrorFilter }>();
  const askForPage = () =>
    void ask(async (signal) => {
      const page = await getErrors(id, filter, { offset, limit: PAGE_SIZE }, signal);
      return { filter, ...page };
    });
  useEffect(askForPage, [id, filter, offset]);
  const list = useRef<HTMLOListElement>(null);
  const focusFirst = useRef(false);
  const [at, setAt] = useState(0);

  useEffect(() => {
    if (typed === filter.search) return;
    const timer = setTimeout(() => setFilter({ ...filter, search: typed.slice(0, 200) }), SEARCH_DELAY_MS);
    return () => clearTimeout(timer);
  }, [typed, filter]);
  useEffect(() => {
    setAt(0);
    if (focusFirst.current) (list.current?.firstElementChild as HTMLElement | null)?.focus();
    focusFirst.current = false;
  }, [answer]);

  const total = answer?.total ?? 0;
  const isStale = answer === undefined || answer.filter !== filter || answer.offset !== offset;
  const turn = (by: number) => {
    const next = offset + by * PAGE_SIZE;
    if (next < 0 || next >= total || isStale) return;
    focusFirst.current = list.current?.contains(document.activeElement) ?? false;
    setAsked({ filter, offset: next });
  };
  const step = (event: KeyboardEvent) => {
    const places = [...(list.current?.children ?? [])] as HTMLElement[];
    const moves: Record<string, () => void> = {
      ArrowDown: () => places[at + 1]?.focus(),
      ArrowUp: () => places[at - 1]?.focus(),
      Home: () => places[0]?.focus(),
      End: () => places.at(-1)?.focus(),
      ArrowRight: () => turn(1),
      ArrowLeft: () => turn(-1),
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
  };
  const change = (part: Partial<ErrorFilter>) => setFilter({ ...filter, ...part });
  const isFiltered = Object.values(filter).some((value) => value !== '');

  // Written texts have no probability by which they could be in order.
  const about = `${result.task.kind === 'generation' ? '' : t.errorsOrder} ${t.errorsKeys}`;
  const pager = (
    <div class="row pager">
      <p class="quiet">
        {total > 0 && answer && `${answer.offset + 1}–${answer.offset + answer.rows.length} ${t.of} ${total}`}
      </p>
      <button type="button" disabled={offset === 0} onClick={() => turn(-1)}>
        {t.previous}
      </button>
      <button type="button" disabled={offset + PAGE_SIZE >= total} onClick={() => turn(1)}>
        {t.next}
      </button>
    </div>
  );

  return (
    <section class="card" aria-labelledby="results-errors" aria-busy={isStale}>
      <h3 id="results-errors">{t.errors}</h3>
      <div class="error-filters">
        {labels.length > 0 && (
          <>
            <LabelChoice
              t={t}
              title={t.gold}
              labels={labels}
              value={filter.label}
              set={(label) => change({ label })}
            />
            <LabelChoice
              t={t}
              title={t.predicted}
              labels={labels}
              value={filter.predicted}
              set={(predicted) => change({ predicted })}
            />
          </>
        )}
        <label>
          {t.search}
          <input type="search" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
        <button
          type="button"
          disabled={!isFiltered}
          onClick={() => {
            setTyped('');
            setFilter(noFilter);
          }}
        >
          {t.clear}
        </button>
      </div>
      <p class="quiet" role="status">
        {!answer ? t.loading : total > 0 ? about : isFiltered ? t.noErrorMatch : t.allRight}
      </p>
      {total > 0 && pager}
      {failure && <Failure t={texts} error={failure} retry={askForPage} />}
      {answer && total > 0 && (
        <ol class="errors" ref={list} onKeyDown={step}>
          {answer.rows.map((row, index) => (
            // One stop of the tab key, from which arrow keys go on.
            <li
              key={`${answer.offset}-${index}`}
              tabIndex={index === at ? 0 : -1}
              onFocus={() => setAt(index)}
            >
              <ErrorText t={t} row={row} result={result} />
            </li>
          ))}
        </ol>
      )}
      {total > PAGE_SIZE && pager}
    </section>
  );
}

interface LabelChoiceProps {
  t: Texts['resultsPage'];
  title: string;
  labels: readonly Label[];
  value: string;
  set: (label: string) => void;
}

function LabelChoice({ t, title, labels, value, set }: LabelChoiceProps) {
  return (
    <label>
      {title}
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        <option value="">{t.anyLabel}</option>
        {labels.map((label) => (
          <option key={label.name} value={label.name}>
            {labelText(label)}
          </option>
        ))}
      </select>
    </label>
  );
}
