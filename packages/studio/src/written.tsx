// What was written: the text as it streams in, candidates side by side, the same as JSON, and how sure the
// model was of each piece.
import { useState } from 'preact/hooks';
import type { StreamToken } from './api.js';
import { confidenceStep, percent } from './confidence.js';
import { Failure } from './failure.js';
import { stepThroughPieces } from './pieces.js';
import type { Texts } from './texts.js';
import { asJson, type Candidate, type Writing } from './writing.js';

interface Props {
  t: Texts;
  writing: Writing;
  confidence: boolean;
  continueFrom: (text: string) => void;
  retry: () => void;
}

export function Written({ t, writing, confidence, continueFrom, retry }: Props) {
  const [tab, setTab] = useState<'visual' | 'json'>('visual');
  const { phase, candidates, request } = writing;
  const word = { idle: '', writing: t.writing, done: t.done, stopped: t.stopped, failed: t.error }[phase];
  return (
    <section class="card" aria-label={t.result}>
      <div class="row">
        <fieldset class="words">
          <legend class="unseen">{t.result}</legend>
          {(['visual', 'json'] as const).map((name) => (
            <label key={name}>
              <input type="radio" name="tab" checked={tab === name} onChange={() => setTab(name)} />
              <span>{t[name]}</span>
            </label>
          ))}
        </fieldset>
        <span class="quiet" role="status">
          {word}
          {phase === 'done' && writing.usage && ` · ${writing.usage.writtenTokens} ${t.written}`}
          {writing.seed !== undefined && ` · ${t.seed} ${writing.seed}`}
        </span>
      </div>
      {writing.notes.map((note) => (
        <p class="quiet" key={note}>
          {note}
        </p>
      ))}
      {writing.error && <Failure t={t} error={writing.error} retry={retry} />}
      {phase === 'idle' && <p class="empty quiet">{t.empty}</p>}
      {phase !== 'idle' && tab === 'json' && <pre>{asJson(writing)}</pre>}
      {phase !== 'idle' && tab === 'visual' && (
        <>
          {confidence && <Legend t={t} />}
          <div class={candidates.length > 1 ? 'candidates' : ''}>
            {candidates.map((candidate, index) => (
              <article key={index} aria-busy={phase === 'writing' && candidate.finish === undefined}>
                {candidates.length > 1 && (
                  <h2>
                    {t.candidate} {index + 1}
                  </h2>
                )}
                {confidence ? (
                  <Shaded t={t} candidate={candidate} />
                ) : (
                  <p class="text" lang="zh-CN" aria-live="polite">
                    <span class="quiet">{request?.prompt}</span>
                    <span>{candidate.text}</span>
                    {phase === 'writing' && !candidate.finish && <span class="caret" aria-hidden="true" />}
                  </p>
                )}
                {candidates.length > 1 && phase !== 'writing' && candidate.text !== '' && (
                  <button type="button" onClick={() => continueFrom(candidate.text)}>
                    {t.continueOf}
                  </button>
                )}
              </article>
            ))}
          </div>
        </>
      )}
    </section>
  );
}

function Legend({ t }: { t: Texts }) {
  return (
    <p class="quiet">
      {t.confidenceHint} {t.sure} <span class="sure-0">80%</span>
      <span class="sure-1">50%</span>
      <span class="sure-2">25%</span>
      <span class="sure-3">10%</span>
      <span class="sure-4">&lt;</span> {t.unsure}
    </p>
  );
}

function Shaded({ t, candidate }: { t: Texts; candidate: Candidate }) {
  const [at, setAt] = useState(-1);
  const token = candidate.tokens[at];
  return (
    <>
      <p class="text" lang="zh-CN">
        {candidate.tokens.map((piece, index) => [
          <button
            key={index}
            type="button"
            class={`token sure-${confidenceStep(piece.logProbability)}`}
            tabIndex={index === Math.max(at, 0) ? 0 : -1}
            onMouseEnter={() => setAt(index)}
            onFocus={() => setAt(index)}
            onKeyDown={stepThroughPieces}
          >
            {piece.text.replaceAll('\n', '↵')}
          </button>,
          piece.text.includes('\n') && <br key={`break-${index}`} />,
        ])}
      </p>
      <p class="detail" aria-live="polite">
        {token ? <Detail t={t} token={token} /> : t.confidenceHint}
      </p>
    </>
  );
}

function Detail({ t, token }: { t: Texts; token: StreamToken }) {
  return (
    <>
      <strong lang="zh-CN">{token.text}</strong> {percent(Math.exp(token.logProbability))}
      {token.alternatives && token.alternatives.length > 0 && (
        <>
          {' · '}
          {t.otherChoices}:{' '}
          {token.alternatives.map(({ text, tokenId, logProbability }) => (
            <span class="alternative" key={tokenId}>
              <span lang="zh-CN">{text}</span> {percent(Math.exp(logProbability))}
            </span>
          ))}
        </>
      )}
    </>
  );
}
