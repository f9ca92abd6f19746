// Asking again and again while somebody looks: not while the page or the browser's tab is hidden.
import { useEffect, useState } from 'preact/hooks';
import { ApiError } from './api.js';

export interface Polled<Value> {
  value: Value | undefined;
  /** The last attempt failed; the value is that of an earlier one. */
  failure: ApiError | undefined;
  retry: () => void;
}

/**
 * @param key what is asked for; another one forgets the value
 * @param load the new value, given the old one
 * @param intervalMs undefined: asked once
 */
export function usePolling<Value>(
  key: string,
  shown: boolean,
  intervalMs: number | undefined,
  load: (known: Value | undefined, signal: AbortSignal) => Promise<Value>,
): Polled<Value> {
  const [state, setState] = useState<{ key: string; value?: Value; failure?: ApiError }>({ key });
  const [attempt, setAttempt] = useState(0);
  const visible = useVisible();
  useEffect(() => {
    if (!shown || !visible) return undefined;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let known = state.key === key ? state.value : undefined;
    const ask = async (): Promise<void> => {
      try {
        known = await load(known, abort.signal);
        if (!abort.signal.aborted) setState({ key, value: known });
      } catch (error) {
        if (abort.signal.aborted) return;
        const failure = error instanceof ApiError ? error : new ApiError(String(error), 0);
        setState({ key, ...(known !== undefined && { value: known }), failure });
        // A refusal stays one until somebody acts; a server that is away may come back.
        if (failure.status !== 0) return;
      }
      if (intervalMs !== undefined && !abort.signal.aborted) timer = setTimeout(ask, intervalMs);
    };
    void ask();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key, shown, visible, intervalMs, attempt]);
  const current = state.key === key ? state : undefined;
  return { value: current?.value, failure: current?.failure, retry: () => setAttempt(attempt + 1) };
}

function useVisible(): boolean {
  const [visible, setVisible] = useState(document.visibilityState === 'visible');
  useEffect(() => {
    const change = () => setVisible(document.visibilityState === 'visible');
    document.addEventListener('visibilitychange', change);
    return () => document.removeEventListener('visibilitychange', change);
  }, []);
  return visible;
}
