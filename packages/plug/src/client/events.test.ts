import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventParser, readEvents } from './events.js';

test('events come out whole wherever the chunks are cut', () => {
  const text = 'data: {"text":"春"}\r\n\r\n: comment\ndata: a\ndata:b\n\ndata: [DONE]\n\n';
  for (let cut = 0; cut <= text.length; cut += 1) {
    const parser = new EventParser();
    const events = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
    assert.deepEqual(events, ['{"text":"春"}', 'a\nb', '[DONE]']);
  }
});

test('characters cut between bytes are put together, and a missing last blank line is forgiven', async () => {
  const bytes = new TextEncoder().encode('data: 江𠮷\n');
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const events: string[] = [];
  for await (const event of readEvents(body)) events.push(event);
  assert.deepEqual(events, ['江𠮷']);
});
