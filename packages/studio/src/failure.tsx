// What went wrong, what to do about it, and the token field when the server asks for one.
import { useState } from 'preact/hooks';
import { type ApiError, setToken } from './api.js';
import type { Texts } from './texts.js';

export function Failure({ t, error, retry }: { t: Texts; error: ApiError; retry: () => void }) {
  const [token, setField] = useState('');
  if (error.status === 401) {
    return (
      <form
        class="failure"
        onSubmit={(event) => {
          event.preventDefault();
          setToken(token.trim());
          retry();
        }}
      >
        <p role="alert">{t.tokenHint}</p>
        <label>
          {t.token}
          <input
            type="password"
            autocomplete="off"
            value={token}
            onInput={(event) => setField(event.currentTarget.value)}
          />
        </label>
        <button type="submit">{t.save}</button>
      </form>
    );
  }
  return (
    <div class="failure">
      <p role="alert">
        {error.status === 0 ? t.offline : `${t.error}: ${error.message}`}
        {error.param && ` (${t.field}: ${error.param})`}
      </p>
      <button type="button" onClick={retry}>
        {t.retry}
      </button>
    </div>
  );
}
