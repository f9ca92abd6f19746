// One result: its figures, how it was made, where it goes wrong.
import { useEffect, useRef, useState } from 'preact/hooks';
import { Failure } from './failure.js';
import { usePolling } from './polling.js';
import { type FigureName, getResult, type ResultDetail } from './results-api.js';
import { addressOf, runsOf } from './results-columns.js';
import { Errors, noFilter } from './results-errors.js';
import { Matrix } from './results-matrix.js';
import { mainFigure, plusMinus, shownFigure } from './results-view.js';
import { SettingsList } from './settings-list.js';
import type { Texts } from './texts.js';

export function Detail({ t: texts, id }: { t: Texts; id: string }) {
  const t = texts.resultsPage;
  const {
    value: result,
    failure,
    retry,
  } = usePolling<ResultDetail>(id, true, undefined, (_, signal) => getResult(id, signal));
  const [filter, setFilter] = useState(noFilter);
  const heading = useRef<HTMLHeadingElement>(null);
  // Who follows a link with the keyboard goes on reading at the new heading.
  useEffect(() => heading.current?.focus(), [result?.id]);
  useEffect(() => setFilter(noFilter), [id]);
  const isGone = failure?.status === 404;

  return (
    <>
      <p>
        <a href="#results">← {t.back}</a>
      </p>
      {isGone && <p role="alert">{t.notFound}</p>}
      {failure && !isGone && <Failure t={texts} error={failure} retry={retry} />}
      {!result && !failure && <p role="status">{t.loading}</p>}
      {result && !isGone && (
        <>
          <section class="card" aria-labelledby="results-title">
            <h2 id="results-title" class="result-title" tabIndex={-1} ref={heading}>
              {result.task.name} · {result.split}
              <small>{result.run}</small>
            </h2>
            <Figures t={t} result={result} />
            <Members t={t} result={result} />
            <SettingsList title={t.settings} settings={result.settings} />
          </section>
          {result.confusion && result.labels && (
            <Matrix
              t={t}
              confusion={result.confusion}
              labels={result.labels}
              filter={filter}
              canChoose={result.hasErrors}
              choose={(label, predicted) => setFilter({ ...filter, label, predicted })}
            />
          )}
          {result.hasErrors && (
            <Errors key={id} t={texts} result={result} filter={filter} setFilter={setFilter} />
          )}
          {!result.hasErrors && !result.trials && result.shots === undefined && (
            <section class="card">
              <h3>{t.errors}</h3>
              <p>{t.noErrors}</p>
              <pre class="command">npx plug evaluate --model runs/{result.run} --data …</pre>
            </section>
          )}
        </>
      )}
    </>
  );
}

const SHOWN: readonly FigureName[] = [
  ...(['accuracy', 'f1', 'exactMatch', 'macroF1', 'bitsPerCharacter', 'perplexity', 'loss'] as const),
  ...(['bleu4', 'rouge1', 'rouge2', 'rougeL', 'distinct1', 'distinct2'] as const),
];

function Figures({ t, result }: { t: Texts['resultsPage']; result: ResultDetail }) {
  const { figures, interval, task, numExamples, truncated, numWritten, finishedAt } = result;
  const titles: Partial<Record<FigureName, string>> = {
    ...{ accuracy: t.accuracy, f1: t.f1, exactMatch: t.exactMatch, macroF1: t.macroF1, loss: t.loss },
    ...{ bitsPerCharacter: t.bitsPerCharacter, perplexity: t.perplexity },
    ...{ bleu4: 'BLEU-4', rouge1: 'ROUGE-1', rouge2: 'ROUGE-2', rougeL: 'ROUGE-L' },
    ...{ distinct1: 'Distinct-1', distinct2: 'Distinct-2' },
  };
  const main = mainFigure(task);
  const error = plusMinus(result);
  const runs = runsOf(t, result);
  const bounds = interval && `${shownFigure(main, interval.low)} – ${shownFigure(main, interval.high)}`;
  const shown: [title: string, value: string | number, small?: string | false][] = [
    ...SHOWN.flatMap((name): [string, string, (string | false)?][] =>
      figures[name] === undefined
        ? []
        : [
            [
              titles[name] ?? name,
              shownFigure(name, figures[name]),
              name === main && error !== undefined && `± ${shownFigure(name, error)}`,
            ],
          ],
    ),
    ...(bounds ? [[t.interval, bounds] as [string, string]] : []),
    [t.examples, numExamples, runs ?? false],
    ...(numWritten === undefined ? [] : [[t.written, numWritten] as [string, number]]),
    ...(truncated > 0 ? [[t.truncated, truncated] as [string, number]] : []),
    [t.finishedAt, new Date(finishedAt).toLocaleString(document.documentElement.lang)],
  ];
  return (
    <dl class="figures">
      {shown.map(([title, value, small], index) => (
        <div key={title} class={index === 0 ? 'main-figure' : ''}>
          <dt>{title}</dt>
          <dd>
            {value}
            {small && <small>{small}</small>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** Runs that a mean is of, or settings that were tried. */
function Members({ t, result: { trials, task } }: { t: Texts['resultsPage']; result: ResultDetail }) {
  if (!trials) return null;
  return (
    <div>
      <h3>{t.members}</h3>
      <ul class="members">
        {trials.members.map(({ id, value, settings }) => (
          <li key={id}>
            <a href={addressOf(id)}>{settings}</a> {shownFigure(mainFigure(task), value)}
          </li>
        ))}
      </ul>
    </div>
  );
}
