// The list of runs: filter, state, how far each is, and which are compared.
import { useState } from 'preact/hooks';
import { figure, kindOf, stateOf, stateWord } from './run-figures.js';
import type { Run } from './runs-api.js';
import type { Texts } from './texts.js';

/** As many as the palette has colours that are told apart. */
export const maxCompared = 6;
const states = ['all', 'running', 'finished', 'stopped'] as const;

interface Props {
  t: Texts;
  runs: readonly Run[];
  truncated: boolean;
  /** Names of the drawn runs; the first is the one that is looked at. */
  chosen: readonly string[];
  choose: (ids: string[]) => void;
}

export function RunList({ t, runs, truncated, chosen, choose }: Props) {
  const [words, setWords] = useState('');
  const [state, setState] = useState<(typeof states)[number]>('all');
  const wanted = words.toLowerCase().split(/\s+/);
  const fitting = runs.filter(
    (run) =>
      (state === 'all' || run.state === state) &&
      wanted.every((word) => `${run.id} ${kindOf(run, t)}`.toLowerCase().includes(word)),
  );
  const isFull = chosen.length >= maxCompared;
  return (
    <section class="card runs-list" aria-label={t.runsList}>
      <input
        type="search"
        aria-label={t.runsFilter}
        placeholder={t.runsFilter}
        value={words}
        onInput={(event) => setWords(event.currentTarget.value)}
      />
      <fieldset class="words">
        <legend class="unseen">{t.runState}</legend>
        {states.map((name) => (
          <label key={name}>
            <input type="radio" name="run-state" checked={state === name} onChange={() => setState(name)} />
            <span>{name === 'all' ? t.runsAll : stateWord(name, t)}</span>
          </label>
        ))}
      </fieldset>
      {fitting.length === 0 && <p class="empty quiet">{t.runsNoMatch}</p>}
      <ul>
        {fitting.map((run) => {
          const at = chosen.indexOf(run.id);
          return (
            <li key={run.id} class={at >= 0 ? `series-${at} drawn` : ''}>
              <button
                type="button"
                class="run"
                aria-pressed={at === 0}
                // A click looks at the run alone, or at it first of those compared.
                onClick={() => choose(at > 0 ? [run.id, ...chosen.filter((id) => id !== run.id)] : [run.id])}
              >
                <strong>{run.id}</strong>
                <span class="quiet">
                  {kindOf(run, t)} · <span class={`state ${run.state}`}>{stateOf(run, t)}</span>
                </span>
                <progress
                  aria-label={`${run.id}: ${t.runStep}`}
                  value={run.step}
                  max={Math.max(1, run.totalSteps ?? run.step)}
                />
                <span class="quiet figures">
                  {run.step}
                  {run.totalSteps !== undefined && ` / ${run.totalSteps}`} {t.runSteps}
                  {run.loss !== undefined && ` · ${t.runLoss} ${figure(run.loss)}`}
                </span>
              </button>
              <label class="check" title={isFull && at < 0 ? t.runsCompareLimit : undefined}>
                <input
                  type="checkbox"
                  aria-label={`${t.runCompare}: ${run.id}`}
                  checked={at >= 0}
                  disabled={(isFull && at < 0) || (at === 0 && chosen.length === 1)}
                  onChange={() =>
                    choose(at >= 0 ? chosen.filter((id) => id !== run.id) : [...chosen, run.id])
                  }
                />
              </label>
            </li>
          );
        })}
      </ul>
      {truncated && <p class="quiet">{t.runsTruncated}</p>}
    </section>
  );
}
