// What the server tells, asked again and again while it is looked at.
import { useCallback, useEffect, useState } from 'preact/hooks';
import { ApiError } from './api.js';

export interface Live<Answer> {
  /** The newest answer, kept when a later question fails. */
  answer: Answer | undefined;
  failure: ApiError | undefined;
  retry: () => void;
}

/** @param everyMs undefined to ask once */
export function useLive<Answer>(
  ask: ((signal: AbortSignal) => Promise<Answer>) | undefined,
  everyMs: number | undefined,
  about: readonly unknown[],
): Live<Answer> {
  const [answer, setAnswer] = useState<Answer>();
  const [failure, setFailure] = useState<ApiError>();
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (!ask) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const turn = async () => {
      // A tab in the background asks nothing.
      if (!document.hidden)
        try {
          const next = await ask(abort.signal);
          if (abort.signal.aborted) return;
          setAnswer(next);
          setFailure(undefined);
        } catch (error) {
          if (abort.signal.aborted) return;
          setFailure(error instanceof ApiError ? error : new ApiError(String(error), 0));
        }
      if (everyMs !== undefined && !abort.signal.aborted) timer = setTimeout(turn, everyMs);
    };
    void turn();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [...about, everyMs, attempt]);
  const retry = useCallback(() => setAttempt((number) => number + 1), []);
  return { answer, failure, retry };
}
