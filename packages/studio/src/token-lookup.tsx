// A text as the model reads it: its tokens with their ids.
import { useEffect, useState } from 'preact/hooks';
import { useAsking } from './asking.js';
import { Failure } from './failure.js';
import { type TokenizedText, tokenize } from './model-api.js';
import type { Texts } from './texts.js';

/** The server is asked when typing rests. */
const PAUSE_MS = 250;

export function TokenLookup({ t, model, shown }: { t: Texts; model: string; shown: boolean }) {
  const [text, setText] = useState('春江潮水连海平，OpenPLUG 2021');
  const { answer, failure, ask } = useAsking<TokenizedText>();
  const look = () => void ask((signal) => tokenize(model, text, signal));
  // Asked when the text or the model changes.
  useEffect(() => {
    if (!shown) return;
    const timer = setTimeout(look, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, model, shown]);

  return (
    <section class="card" aria-labelledby="tokens-title">
      <h2 id="tokens-title">{t.tokensTitle}</h2>
      <label>
        {t.tokensText}
        <textarea
          rows={2}
          lang="zh-CN"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      {failure && <Failure t={t} error={failure} retry={look} />}
      <p class="quiet" role="status">
        {answer && answer.tokens.length > 0
          ? `${answer.tokens.length} ${t.tokensCount}${answer.numUnknown > 0 ? ` · ${answer.numUnknown} ${t.tokensUnknown}` : ''}`
          : t.tokensHint}
      </p>
      {answer && answer.tokens.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
        <ol class="tokens" lang="zh-CN" tabIndex={0} aria-label={t.tokensTitle}>
          {answer.tokens.map(({ id, token }, index) => (
            <li key={index} class={token === '[UNK]' ? 'unknown' : ''}>
              {token}
              <small>
                <span class="unseen">{t.tokensId} </span>
                {id}
              </small>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}
