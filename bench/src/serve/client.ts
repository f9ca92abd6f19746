// A client of `/v1/generate`, ours or a peer's. Through `node:http`, as `fetch` takes several times as long for each
// piece of a stream, on cores that the server wants.
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { BenchmarkError } from '../harness/harness.js';

/** One answer; `firstTokenSeconds` of one that did not stream is NaN. */
export interface Answer {
  text: string;
  tokens: number;
  firstTokenSeconds: number;
}

export class Client {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true });

  /** @param url of the server */
  constructor(url: string) {
    this.#url = url;
  }

  /** An answer that comes at once. @throws BenchmarkError when it is an error */
  async whole(body: object): Promise<Answer> {
    let text = '';
    const response = await this.#ask({ ...body, stream: false });
    for await (const piece of response.setEncoding('utf8')) text += piece as string;
    if (response.statusCode !== 200)
      throw new BenchmarkError(`A request got ${response.statusCode}: ${text}`);
    const { texts, usage } = JSON.parse(text) as {
      texts: [{ text: string }];
      usage: { writtenTokens: number };
    };
    return { text: texts[0].text, tokens: usage.writtenTokens, firstTokenSeconds: Number.NaN };
  }

  /** An answer as it streams in. @throws BenchmarkError when it is an error */
  async stream(body: object): Promise<Answer> {
    const started = performance.now();
    const response = await this.#ask({ ...body, stream: true });
    const streamed: Answer = { text: '', tokens: 0, firstTokenSeconds: Number.NaN };
    let rest = '';
    let isDone = false;
    for await (const piece of response.setEncoding('utf8')) {
      const lines = (rest + (piece as string)).split('\n\n');
      rest = lines.pop()!;
      for (const line of lines) {
        isDone = line === 'data: [DONE]';
        if (isDone) break;
        const event = JSON.parse(line.slice('data: '.length)) as { text?: string; error?: object };
        if (event.error) throw new BenchmarkError(`a stream ended with ${JSON.stringify(event.error)}`);
        if (event.text === undefined) continue;
        if (streamed.tokens++ === 0) streamed.firstTokenSeconds = (performance.now() - started) / 1000;
        streamed.text += event.text;
      }
    }
    if (isDone) return streamed;
    throw new BenchmarkError(`A stream with status ${response.statusCode} ended without [DONE]: ${rest}`);
  }

  async #ask(body: object): Promise<IncomingMessage> {
    const data = JSON.stringify(body);
    const asked = request(`${this.#url}/v1/generate`, {
      method: 'POST',
      agent: this.#agent,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(data) },
    });
    asked.end(data);
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return response;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** All requests at once, and how long until the last is answered. */
export async function together(
  ask: (request: object) => Promise<Answer>,
  requests: readonly object[],
): Promise<{ answers: Answer[]; seconds: number }> {
  const started = performance.now();
  const answers = await Promise.all(requests.map(ask));
  return { answers, seconds: (performance.now() - started) / 1000 };
}

export function tokensOf(answers: readonly Answer[]): number {
  return answers.reduce((sum, { tokens }) => sum + tokens, 0);
}
