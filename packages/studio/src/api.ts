// The server as this page uses it: the client of its own routes, at the page's own origin, with the token of this tab.
import {
  ApiError,
  type GenerateRequest as GenerateBody,
  type GenerateToken,
  OpenPlugClient,
  type ServedModel,
} from 'openplug/client';
import type { Settings } from './settings.js';

export { ApiError };
export type Model = ServedModel;
export type StreamToken = GenerateToken;
/** All settings that the page shows are given. */
export type GenerateRequest = GenerateBody & Omit<Settings, 'seed'> & { alternatives: number };
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

/** The token lives only as long as the tab: session storage, never local storage or the address. */
export function setToken(token: string): void {
  sessionStorage.setItem(TOKEN_KEY, token);
}

export function client(): OpenPlugClient {
  return new OpenPlugClient({ token: sessionStorage.getItem(TOKEN_KEY) ?? '' });
}

export function listModels(): Promise<Model[]> {
  return client().models();
}

/** Streams one generation; aborting the signal closes the connection, and with it the server stops writing. */
export async function generate(
  body: GenerateRequest,
  handlers: StreamHandlers,
  signal: AbortSignal,
): Promise<void> {
  for await (const event of client().stream(body, { signal })) {
    if ('usage' in event) handlers.onUsage(event.usage);
    else if ('candidate' in event) handlers.onToken(event);
    else handlers.onStart(event);
  }
}

/** The answer of any other route, for what a page alone needs. */
export async function ask<Answer>(
  path: string,
  body: object | undefined,
  signal: AbortSignal,
): Promise<Answer> {
  return (await (await client().request(path, body, { signal })).json()) as Answer;
}
