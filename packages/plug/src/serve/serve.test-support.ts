// A real server on a free port, with a small model in its own process.
import { after } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { buildServer, HostedModel, type ServerLimits, ServerMetrics, type ServerOptions } from './index.js';

export interface TestServer {
  readonly url: string;
  readonly app: FastifyInstance;
  readonly model: HostedModel;
  beginDraining(): void;
  /** Answer of a POST of JSON. */
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
}

export const testLimits: ServerLimits = {
  maxNewTokens: 4000,
  maxInputChars: 400,
  maxTextsPerRequest: 20,
  requestTimeoutMs: 60_000,
};

export interface TestServerOptions extends Partial<ServerOptions> {
  readonly folder: string;
  readonly maxCalls?: number;
  readonly maxRows?: number;
}

/** Started for the whole test file, and closed after it. */
export async function startServer(options: TestServerOptions): Promise<TestServer> {
  const { folder, maxCalls = 300, maxRows = 16, ...changes } = options;
  const metrics = new ServerMetrics();
  const hosting = {
    name: 'spring',
    folder,
    precision: 'float32',
    threads: 1,
    maxRows,
    cacheBytes: 2 ** 28,
    maxCalls,
  } as const;
  const model = await HostedModel.start(hosting, metrics.listener);
  const { app, beginDraining } = await buildServer({
    models: [model],
    limits: testLimits,
    metrics,
    tokens: undefined,
    requestsPerMinute: 0,
    maxBodyBytes: 64 * 1024,
    logLevel: 'silent',
    version: '0.0.0',
    runsFolder: undefined,
    ...changes,
  });
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  after(async () => {
    await model.close();
    await app.close();
  });
  const post = (path: string, body: unknown, init: RequestInit = {}): Promise<Response> =>
    fetch(`${url}${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      ...init,
      headers: { 'content-type': 'application/json', ...init.headers },
    });
  return { url, app, model, beginDraining, post };
}

/** The events of a stream, without the closing `[DONE]`; fails when that is missing and no error came. */
export async function eventsOf(response: Response): Promise<Record<string, unknown>[]> {
  const lines = (await response.text()).split('\n\n').filter((line) => line !== '');
  const data = lines.map((line) => line.replace(/^data: /, ''));
  if (data.at(-1) === '[DONE]') data.pop();
  else if (!data.at(-1)?.startsWith('{"error"')) throw new Error(`a stream ends with ${data.at(-1)}`);
  return data.map((text) => JSON.parse(text) as Record<string, unknown>);
}

/** Waits until something holds, for a minute at most. */
export async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`never: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
