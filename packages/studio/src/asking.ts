// One request at a time as state: a new one takes the place of the last, whose answer is dropped.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from './api.js';

export interface Asking<Answer> {
  busy: boolean;
  /** Stays while the next one is asked for, so that the page does not jump. */
  answer: Answer | undefined;
  failure: ApiError | undefined;
  ask(request: (signal: AbortSignal) => Promise<Answer>): Promise<void>;
  clear(): void;
}

export function useAsking<Answer>(): Asking<Answer> {
  const [busy, setBusy] = useState(false);
  const [answer, setAnswer] = useState<Answer>();
  const [failure, setFailure] = useState<ApiError>();
  const running = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => running.current?.abort(), []);

  const ask = async (request: (signal: AbortSignal) => Promise<Answer>) => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setBusy(true);
    setFailure(undefined);
    try {
      const found = await request(abort.signal);
      if (!abort.signal.aborted) setAnswer(() => found);
    } catch (error) {
      if (!abort.signal.aborted)
        setFailure(error instanceof ApiError ? error : new ApiError(String(error), 0));
    }
    if (running.current === abort) setBusy(false);
  };
  const clear = () => {
    running.current?.abort();
    setBusy(false);
    setAnswer(undefined);
    setFailure(undefined);
  };
  return { busy, answer, failure, ask, clear };
}
