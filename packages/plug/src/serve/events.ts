// Server-sent events, as OpenAI's clients read them.
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { errorBody, RequestError } from './errors.js';

/** Sends each value as an event, then `[DONE]`. The source is left when the client goes; a slow one is waited for. */
export function sendEvents(reply: FastifyReply, values: AsyncIterable<object>): FastifyReply {
  async function* lines(): AsyncGenerator<string, void, undefined> {
    try {
      for await (const value of values) yield `data: ${JSON.stringify(value)}\n\n`;
      yield 'data: [DONE]\n\n';
    } catch (error) {
      // The status is out already, so the error comes as the last event.
      const known = error instanceof RequestError ? error : new RequestError(500, 'The writing failed.');
      yield `data: ${JSON.stringify(errorBody(known))}\n\n`;
    }
  }
  return reply
    .header('content-type', 'text/event-stream; charset=utf-8')
    .header('cache-control', 'no-cache')
    .header('x-accel-buffering', 'no')
    .send(Readable.from(lines()));
}
