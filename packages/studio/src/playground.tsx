// The first page: a beginning, how to go on, and what the model made of it.
import { useEffect, useState } from 'preact/hooks';
import type { GenerateRequest } from './api.js';
import { Controls } from './controls.js';
import type { PageProps } from './pages.js';
import { fitSettings, fromHash, type Settings, toHash } from './settings.js';
import { asCurl, asTypescript } from './snippets.js';
import { addHistory, clearHistory, storedHistory } from './stored.js';
import { EXAMPLES } from './texts.js';
import { useWriting } from './writing.js';
import { Written } from './written.js';

/** How many alternatives of each piece are asked for while the confidence is shown. */
const ALTERNATIVES = 5;
/** What a server lets one text have unless it says otherwise. */
const MAX_NEW_TOKENS = 2048;

export function Playground({ t, model, shown }: PageProps) {
  const [linked] = useState(() => fromHash(location.hash));
  const [prompt, setPrompt] = useState(linked.prompt);
  const [chosen, setSettings] = useState(linked.settings);
  const [confidence, setConfidence] = useState(false);
  const [history, setHistory] = useState(storedHistory);
  const [said, setSaid] = useState('');
  const { writing, start, stop } = useWriting(({ request, candidates }) => {
    const text = candidates[0]?.text ?? '';
    if (request && text !== '') setHistory(addHistory({ at: Date.now(), prompt: request.prompt, text }));
  });
  const maxNewTokens = model?.maxNewTokens ?? MAX_NEW_TOKENS;
  const settings = fitSettings(chosen, maxNewTokens);
  const busy = writing.phase === 'writing';
  const cannotWrite = model?.canWrite === false;
  const ready = model !== undefined && !cannotWrite && prompt !== '';

  // The address carries the settings only: the text joins when a link is asked for, not on every key.
  useEffect(() => {
    if (shown) window.history.replaceState(null, '', toHash('write', chosen, ''));
  }, [chosen, shown]);

  // A link that is opened in this tab. An address without settings is the navigation's, and changes none.
  useEffect(() => {
    const follow = () => {
      const { page, ...link } = fromHash(location.hash);
      if (page !== 'write' || !location.hash.includes('?')) return;
      setSettings(link.settings);
      if (link.prompt !== '') setPrompt(link.prompt);
    };
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);

  const change = (part: Partial<Settings>) => setSettings({ ...settings, ...part });
  const request = (text: string): GenerateRequest => {
    const { seed, ...rest } = settings;
    return {
      ...(model && { model: model.id }),
      prompt: text,
      ...rest,
      ...(seed !== null && { seed }),
      alternatives: confidence ? ALTERNATIVES : 0,
    };
  };
  const write = (text: string) => void start(request(text));
  const continueFrom = (text: string) => {
    const longer = (writing.request?.prompt ?? '') + text;
    setPrompt(longer);
    write(longer);
  };
  const copy = (text: string) =>
    // Without https there may be no clipboard at all.
    Promise.resolve(navigator.clipboard?.writeText(text) ?? Promise.reject(new Error('no clipboard'))).then(
      () => setSaid(t.copied),
      () => setSaid(t.copyFailed),
    );
  const firstText = writing.candidates[0]?.text ?? '';
  const finished = !busy && firstText !== '';

  return (
    <div class="columns">
      <div>
        <form
          class="card"
          onSubmit={(event) => {
            event.preventDefault();
            if (busy) stop();
            else if (ready) write(prompt);
          }}
        >
          <div class="row">
            <label for="prompt">{t.prompt}</label>
            <span class="quiet">
              {[...prompt].length} {t.chars}
            </span>
          </div>
          <textarea
            id="prompt"
            rows={7}
            lang="zh-CN"
            placeholder={t.promptHint}
            value={prompt}
            onInput={(event) => setPrompt(event.currentTarget.value)}
          />
          <fieldset class="row">
            <legend class="unseen">{t.examples}</legend>
            {(Object.keys(EXAMPLES) as (keyof typeof EXAMPLES)[]).map((name) => (
              <button type="button" key={name} onClick={() => setPrompt(EXAMPLES[name])}>
                {t[name]}
              </button>
            ))}
          </fieldset>
          <Controls
            t={t}
            settings={settings}
            maxNewTokens={maxNewTokens}
            positions={model?.positions}
            change={change}
          />
          <label class="check">
            <input
              type="checkbox"
              checked={confidence}
              onChange={(event) => setConfidence(event.currentTarget.checked)}
            />
            {t.confidence}
          </label>
          {cannotWrite && <p role="status">{t.cannotWrite}</p>}
          <div class="row">
            <button class="main" type="submit" disabled={!busy && !ready}>
              {busy ? t.stop : t.start}
            </button>
            <button
              type="button"
              disabled={!finished}
              onClick={() => write(writing.request?.prompt ?? prompt)}
            >
              {t.again}
            </button>
            <button type="button" disabled={!finished} onClick={() => continueFrom(firstText)}>
              {t.continueText}
            </button>
          </div>
        </form>
        <div class="row tools">
          <button
            type="button"
            onClick={() => void copy(new URL(toHash('write', settings, prompt), location.href).href)}
          >
            {t.share}
          </button>
          <button type="button" onClick={() => void copy(asCurl(location.origin, request(prompt)))}>
            {t.copyCurl}
          </button>
          <button type="button" onClick={() => void copy(asTypescript(location.origin, request(prompt)))}>
            {t.copyTs}
          </button>
          <span class="quiet" role="status">
            {said}
          </span>
        </div>
      </div>
      <div>
        <Written
          t={t}
          writing={writing}
          confidence={confidence}
          continueFrom={continueFrom}
          retry={() => write(writing.request?.prompt ?? prompt)}
        />
        <details class="card">
          <summary>
            {t.history} ({history.length})
          </summary>
          <p class="quiet">{t.historyEmpty}</p>
          <ul class="history">
            {history.map((entry) => (
              <li key={entry.at}>
                <p class="text" lang="zh-CN">
                  <span class="quiet">{entry.prompt}</span>
                  {entry.text}
                </p>
                <button type="button" onClick={() => setPrompt(entry.prompt)}>
                  {t.use}
                </button>
              </li>
            ))}
          </ul>
          <button
            type="button"
            disabled={history.length === 0}
            onClick={() => {
              clearHistory();
              setHistory([]);
            }}
          >
            {t.clear}
          </button>
        </details>
      </div>
    </div>
  );
}
