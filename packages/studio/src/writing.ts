// One generation as state: the candidates grow token by token, and the page is told at most once a frame, so
// that a fast model does not make it draw for every character.
import { useRef, useState } from 'preact/hooks';
import { ApiError, type GenerateRequest, generate, type StreamToken, type Usage } from './api.js';

export interface Candidate {
  text: string;
  tokens: StreamToken[];
  finish: 'end' | 'length' | undefined;
}
export type Phase = 'idle' | 'writing' | 'done' | 'stopped' | 'failed';
export interface Writing {
  phase: Phase;
  request: GenerateRequest | undefined;
  model: string | undefined;
  seed: number | undefined;
  notes: string[];
  candidates: Candidate[];
  usage: Usage | undefined;
  error: ApiError | undefined;
}

const IDLE: Writing = {
  phase: 'idle',
  request: undefined,
  model: undefined,
  seed: undefined,
  notes: [],
  candidates: [],
  usage: undefined,
  error: undefined,
};

export function useWriting(finished: (writing: Writing) => void) {
  const [writing, setWriting] = useState<Writing>(IDLE);
  const running = useRef<AbortController | undefined>(undefined);

  const start = async (request: GenerateRequest) => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    const current: Writing = {
      ...IDLE,
      phase: 'writing',
      request,
      candidates: Array.from({ length: request.numCandidates }, () => ({
        text: '',
        tokens: [],
        finish: undefined,
      })),
    };
    let frame = 0;
    const draw = () => {
      frame = 0;
      if (running.current === abort) setWriting({ ...current });
    };
    const drawSoon = () => {
      if (frame === 0) frame = requestAnimationFrame(draw);
    };
    draw();
    try {
      await generate(
        request,
        {
          onStart: ({ model, seed, notes }) => {
            Object.assign(current, { model, seed, notes });
            drawSoon();
          },
          onToken: (token) => {
            const candidate = current.candidates[token.candidate];
            if (!candidate) return;
            candidate.tokens.push(token);
            candidate.text += token.text;
            candidate.finish = token.finish;
            drawSoon();
          },
          onUsage: (usage) => {
            current.usage = usage;
          },
        },
        abort.signal,
      );
      current.phase = 'done';
    } catch (error) {
      current.phase = abort.signal.aborted ? 'stopped' : 'failed';
      if (current.phase === 'failed')
        current.error = error instanceof ApiError ? error : new ApiError(String(error), 0);
    }
    cancelAnimationFrame(frame);
    draw();
    if (running.current === abort) finished(current);
  };
  return { writing, start, stop: () => running.current?.abort() };
}

/** The result in the shape of the server's answer without streaming. */
export function asJson({ model, seed, notes, candidates, usage }: Writing): string {
  const texts = candidates.map(({ text, finish, tokens }) => ({
    text,
    finish,
    logProbability: tokens.reduce((sum, token) => sum + token.logProbability, 0),
    tokens: tokens.map(({ candidate: _, finish: __, ...token }) => token),
  }));
  return JSON.stringify({ model, seed, notes, texts, usage }, null, 2);
}
