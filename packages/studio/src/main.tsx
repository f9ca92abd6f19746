// The frame around the pages: heading, navigation, language, appearance, model choice, and the states in which
// no page can work (no server, no token, no model).
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, listModels, type Model } from './api.js';
import { Failure } from './failure.js';
import { type PageName, pageOf, pages } from './pages.js';
import {
  applyLanguage,
  applyTheme,
  storedLanguage,
  storedTheme,
  storeLanguage,
  storeTheme,
  type Theme,
} from './stored.js';
import { type Language, TEXTS } from './texts.js';

function App() {
  const [language, setLanguage] = useState<Language>(storedLanguage);
  const [theme, setTheme] = useState<Theme>(storedTheme);
  const [page, setPage] = useState(() => pageOf(location.hash));
  const [models, setModels] = useState<Model[]>();
  const [chosen, setChosen] = useState<string>();
  const [failure, setFailure] = useState<ApiError>();
  const t = TEXTS[language];
  const model =
    models?.find(({ id }) => id === chosen) ??
    models?.find(({ canWrite }) => canWrite !== false) ??
    models?.[0];

  useEffect(() => applyLanguage(language, t.title), [language, t]);
  useEffect(() => applyTheme(theme), [theme]);
  useEffect(() => {
    const follow = () => setPage(pageOf(location.hash));
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  const connect = () => {
    setFailure(undefined);
    listModels().then(setModels, (error: unknown) =>
      setFailure(error instanceof ApiError ? error : new ApiError(String(error), 0)),
    );
  };
  useEffect(connect, []);
  const open = (loaded: Model, to: PageName) => {
    setModels((before) => [...(before ?? []).filter(({ id }) => id !== loaded.id), loaded]);
    setChosen(loaded.id);
    location.hash = `#${to}`;
  };

  return (
    <>
      <header>
        <h1>OpenPLUG</h1>
        <nav aria-label={t.pages}>
          {pages.map(({ name }) => (
            <a key={name} href={`#${name}`} aria-current={name === page ? 'page' : undefined}>
              {t[name]}
            </a>
          ))}
        </nav>
        <div class="choices">
          {models && models.length > 1 && (
            <select
              aria-label={t.model}
              value={model?.id}
              onChange={(event) => setChosen(event.currentTarget.value)}
            >
              {models.map(({ id }) => (
                <option key={id}>{id}</option>
              ))}
            </select>
          )}
          {models?.length === 1 && <span class="quiet">{model?.id}</span>}
          <select
            aria-label={t.theme}
            value={theme}
            onChange={(event) => {
              const next = event.currentTarget.value as Theme;
              storeTheme(next);
              setTheme(next);
            }}
          >
            <option value="system">{t.themeSystem}</option>
            <option value="light">{t.themeLight}</option>
            <option value="dark">{t.themeDark}</option>
          </select>
          <button
            type="button"
            lang={language === 'zh' ? 'en' : 'zh-CN'}
            onClick={() => {
              const next = language === 'zh' ? 'en' : 'zh';
              storeLanguage(next);
              setLanguage(next);
            }}
          >
            {t.language}
          </button>
        </div>
      </header>
      <main>
        <p class="notice">{t.notice}</p>
        {failure && <Failure t={t} error={failure} retry={connect} />}
        {!models && !failure && <p role="status">{t.loading}</p>}
        {models?.length === 0 && <p role="status">{t.noModels}</p>}
        {/* All stay mounted, so that changing the page loses neither text nor result. */}
        {pages.map(({ name, View }) => (
          <div key={name} class={`page-${name}`} hidden={name !== page}>
            <View t={t} model={model} shown={name === page} open={open} />
          </div>
        ))}
      </main>
    </>
  );
}

const place = document.getElementById('app');
if (place) render(<App />, place);
