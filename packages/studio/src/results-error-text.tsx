// One wrong prediction, as its kind of task is best read.
import type { ComponentChildren } from 'preact';
import { percent } from './confidence.js';
import type { ErrorRow, ResultDetail } from './results-api.js';
import { labelText } from './results-matrix.js';
import { markedParts } from './results-view.js';
import type { Texts } from './texts.js';

type Words = Texts['resultsPage'];

export function ErrorText({ t, row, result }: { t: Words; row: ErrorRow; result: ResultDetail }) {
  const { input, prediction, probability, gold } = row;
  const { labels = [] } = result;
  const named = (label: unknown): string => {
    const found = labels.find(({ name }) => name === String(label));
    return found ? labelText(found) : String(label);
  };
  const candidates = listOf(input.candidates);
  const { kind } = result.task;
  return (
    <article>
      <div class="verdict">
        {kind === 'classification' && (
          <span class="pair">
            {t.gold} <strong class="gold">{named(gold)}</strong> <span aria-hidden="true">→</span>{' '}
            {t.predicted} <strong class="predicted">{named(prediction)}</strong>
          </span>
        )}
        {probability !== undefined && (
          <span class="sure-of">
            <meter min={0} max={1} value={probability} aria-label={t.sure} /> {percent(probability)} {t.sure}
          </span>
        )}
        <span class="quiet number">#{row.id}</span>
      </div>
      {kind === 'classification' && (
        <>
          <Part title={input.textPair === undefined ? undefined : t.text}>{textOf(t, input.text)}</Part>
          {input.textPair !== undefined && <Part title={t.textPair}>{textOf(t, input.textPair)}</Part>}
        </>
      )}
      {kind === 'choice' && (
        <>
          <Part>{textOf(t, input.text)}</Part>
          <ul class="candidates-of" aria-label={t.candidates}>
            {candidates.map((candidate, index) => (
              <li key={index}>
                <span lang="zh-CN">{candidate}</span>
                {index === gold && <strong class="gold"> {t.gold}</strong>}
                {index === prediction && <strong class="predicted"> {t.predicted}</strong>}
              </li>
            ))}
          </ul>
        </>
      )}
      {kind === 'span' && (
        <>
          <Part title={t.question}>{textOf(t, input.question)}</Part>
          <Part title={t.gold}>
            <strong class="gold">{[...new Set(listOf(gold))].join(' / ')}</strong>
          </Part>
          <Part title={t.predicted}>
            <strong class="predicted">{textOf(t, prediction)}</strong>
          </Part>
          <Part title={t.context}>
            {markedParts(textOf(t, input.context), [...listOf(gold), String(prediction)]).map(
              ({ text, mark }, index) => (mark ? <mark key={index}>{text}</mark> : text),
            )}
          </Part>
        </>
      )}
      {kind === 'generation' && (
        <>
          <Part title={t.sourceText}>{textOf(t, input.source)}</Part>
          <Part title={t.target}>{textOf(t, gold)}</Part>
          <Part title={t.output}>{textOf(t, prediction)}</Part>
        </>
      )}
    </article>
  );
}

function Part({ title, children }: { title?: string | undefined; children: ComponentChildren }) {
  return (
    <div class="part">
      {title !== undefined && <span class="quiet">{title}</span>}
      <p lang="zh-CN">{children}</p>
    </div>
  );
}

function textOf(t: Words, value: unknown): string {
  return value === undefined || value === '' ? t.nothing : String(value);
}

function listOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
