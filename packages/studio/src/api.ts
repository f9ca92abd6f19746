// The server's answers and requests, as this page uses them. Everything goes to the page's own origin; what
// comes back is checked for its outer shape only, since the same project writes both sides.
import type { Settings } from './settings.js';
import { readEvents } from './sse.js';

export interface Alternative {
  text: string;
  tokenId: number;
  logProbability: number;
}
export interface Model {
  id: string;
  /** What it can do is known once it is loaded. */
  positions?: number;
  hiddenSize?: number;
  precision?: string;
  canWrite?: boolean;
  /** Of a fine-tuned classifier, and whether it takes two texts. */
  labels?: string[];
  takesPairs?: boolean;
  /** Tokens that the server lets one text have. */
  maxNewTokens?: number;
}
export interface GenerateRequest extends Omit<Settings, 'seed'> {
  model?: string;
  prompt: string;
  seed?: number;
  alternatives: number;
}
export interface StreamToken extends Alternative {
  candidate: number;
  alternatives?: Alternative[];
  finish?: 'end' | 'length';
}
export interface StreamStart {
  model: string;
  seed: number;
  notes: string[];
}
export interface Usage {
  promptTokens: number;
  writtenTokens: number;
}
export interface StreamHandlers {
  onStart(start: StreamStart): void;
  onToken(token: StreamToken): void;
  onUsage(usage: Usage): void;
}

const TOKEN_KEY = 'openplug.token';

/** What the server said no with; `status` 0 means that it could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly param: string | null;
  constructor(message: string, status: number, param: string | null = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

/** The token lives only as long as the tab: session storage, never local storage or the address. */
export function setToken(token: string): void {
  sessionStorage.setItem(TOKEN_KEY, token);
}

export async function listModels(): Promise<Model[]> {
  const response = await request('/v1/models');
  return ((await response.json()) as { data: Model[] }).data;
}

/** Streams one generation; aborting the signal closes the connection, and with it the server stops writing. */
export async function generate(
  body: GenerateRequest,
  handlers: StreamHandlers,
  signal: AbortSignal,
): Promise<void> {
  const response = await request('/v1/generate', { ...body, stream: true }, signal);
  if (response.body === null) throw new ApiError('empty answer', 0);
  let complete = false;
  try {
    for await (const data of readEvents(response.body)) {
      if (data === '[DONE]') complete = true;
      else dispatch(JSON.parse(data) as StreamMessage, handlers);
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    throw new ApiError(String(error), 0);
  }
  if (!complete) throw new ApiError('the stream ended early', 0);
}

type StreamMessage = Partial<StreamStart & StreamToken> & {
  usage?: Usage;
  error?: { message: string; param: string | null };
};

function dispatch(message: StreamMessage, handlers: StreamHandlers): void {
  if (message.error) throw new ApiError(message.error.message, 500, message.error.param);
  if (message.usage) handlers.onUsage(message.usage);
  else if (message.candidate !== undefined) handlers.onToken(message as StreamToken);
  else if (message.seed !== undefined) handlers.onStart(message as StreamStart);
}

export async function request(path: string, body?: object, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  const token = sessionStorage.getItem(TOKEN_KEY);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = 'application/json';
  const init: RequestInit = { method: body ? 'POST' : 'GET', headers };
  if (body) init.body = JSON.stringify(body);
  if (signal) init.signal = signal;
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(String(error), 0);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response: Response): Promise<ApiError> {
  try {
    const { error } = (await response.json()) as { error: { message: string; param: string | null } };
    return new ApiError(error.message, response.status, error.param);
  } catch {
    return new ApiError(`HTTP ${response.status}`, response.status);
  }
}
