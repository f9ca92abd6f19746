// Zero-shot labels: which of the given words fits a sentence best, with a bar for each.
import { useRef, useState } from 'preact/hooks';
import { ApiError, type LabelScore, score } from './api.js';
import { percent } from './confidence.js';
import { Failure } from './failure.js';
import type { PageProps } from './pages.js';

export function Understand({ t, model }: PageProps) {
  const [input, setInput] = useState('这部电影太好看了，我还想再看一遍！');
  const [labels, setLabels] = useState('正面\n负面');
  const [busy, setBusy] = useState(false);
  const [scores, setScores] = useState<LabelScore[]>();
  const [failure, setFailure] = useState<ApiError>();
  const running = useRef<AbortController | undefined>(undefined);
  const list = [...new Set(labels.split('\n').map((label) => label.trim()))].filter((label) => label !== '');
  const ready = list.length >= 2 && input.trim() !== '';

  const judge = async () => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setBusy(true);
    setFailure(undefined);
    try {
      setScores(await score({ ...(model && { model: model.id }), input, labels: list }, abort.signal));
    } catch (error) {
      if (!abort.signal.aborted)
        setFailure(error instanceof ApiError ? error : new ApiError(String(error), 0));
    } finally {
      if (running.current === abort) setBusy(false);
    }
  };

  return (
    <div class="columns">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) void judge();
        }}
      >
        <label>
          {t.sentence}
          <textarea
            rows={4}
            lang="zh-CN"
            placeholder={t.sentenceHint}
            value={input}
            onInput={(event) => setInput(event.currentTarget.value)}
          />
        </label>
        <label>
          {t.labels}
          <textarea
            rows={4}
            lang="zh-CN"
            value={labels}
            onInput={(event) => setLabels(event.currentTarget.value)}
          />
        </label>
        {!ready && <p class="quiet">{t.needLabels}</p>}
        <button class="main" type="submit" disabled={!ready || busy || !model}>
          {busy ? t.judging : t.judge}
        </button>
      </form>
      <section class="card" aria-label={t.result} aria-live="polite" aria-busy={busy}>
        {failure && <Failure t={t} error={failure} retry={() => void judge()} />}
        {!scores && !failure && <p class="quiet">{busy ? t.judging : t.scoreEmpty}</p>}
        {scores && (
          <ul class="bars">
            {scores.map(({ label, probability }) => (
              <li key={label}>
                <span lang="zh-CN">{label}</span>
                <meter min={0} max={1} value={probability} aria-label={label} />
                <span class="figure">{percent(probability)}</span>
              </li>
            ))}
          </ul>
        )}
      </section>
    </div>
  );
}
