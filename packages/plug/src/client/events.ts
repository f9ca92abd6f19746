// Reads server-sent events from a fetch body: EventSource can neither POST nor carry an Authorization header.

/** Takes chunks of text as they arrive, cut anywhere, and gives the data of each event that is complete. */
export class EventParser {
  #rest = '';
  #data: string[] = [];

  push(chunk: string): string[] {
    this.#rest += chunk;
    const events: string[] = [];
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    for (const raw of lines) {
      const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      if (line === '') {
        if (this.#data.length > 0) events.push(this.#data.join('\n'));
        this.#data = [];
      } else if (line.startsWith('data:')) {
        this.#data.push(line.slice(line[5] === ' ' ? 6 : 5));
      }
    }
    return events;
  }
}

/** The data of each event of a response body. Multi-byte characters cut by a chunk are put together again. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
    // A server that leaves out the last blank line still gets its last event read.
    yield* parser.push(`${decoder.decode()}\n\n`);
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
