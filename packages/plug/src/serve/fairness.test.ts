// One client's flood, and long work of another kind, hold nobody up: through a real server, with tokens.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder, writeTestModel } from '../finetune/finetune.test-support.js';
import { addToken, readTokenFile } from './index.js';
import { startServer, until } from './serve.test-support.js';

const folder = temporaryFolder();
const modelFolder = writeTestModel(folder, { maxPositionEmbeddings: 48 });
const file = join(folder, 'tokens.txt');
const [many, one] = ['many', 'one'].map((name) => ({
  headers: { authorization: `Bearer ${addToken(file, name)}` },
}));
const tokens = readTokenFile(file);

describe('a token with a hundred requests', async () => {
  const server = await startServer({ folder: modelFolder, tokens, maxCalls: 100, maxRows: 4 });

  it('does not hold up another token’s one, which is let in though all places for requests are taken', async () => {
    const stop = new AbortController();
    const long = { prompt: '', maxLength: 2000, minLength: 2000 };
    const flood = Array.from({ length: 100 }, () =>
      server.post('/v1/generate', long, { ...many, signal: stop.signal }).catch(() => undefined),
    );
    await until(() => server.model.numCalls === 100 && server.model.load.waiting > 90);
    assert.equal((await server.post('/v1/generate', long, many)).status, 429);
    const answer = await server.post('/v1/generate', { prompt: '春', maxLength: 20 }, one);
    assert.equal(answer.status, 200);
    assert.equal(server.model.numCalls, 100, 'all of the flood are still there');
    stop.abort();
    await Promise.all(flood);
    await until(() => server.model.numCalls === 0);
  });
});

describe('a job of many texts', async () => {
  const wide = writeTestModel(join(folder, 'wide'), { maxPositionEmbeddings: 256, hiddenSize: 64 });
  const server = await startServer({ folder: wide, maxBodyBytes: 2 ** 20 });
  const input = Array.from({ length: 256 }, (_, index) => '春江潮水連海平'.repeat(30).slice(index % 7));
  const jobs: [path: string, body: object][] = [
    ['/v1/embeddings', { input }],
    ['/v1/score', { input, labels: ['春', '江'] }],
  ];
  for (const [path, body] of jobs)
    it(`of ${path} holds up neither writing nor other jobs, and ends when its client goes away`, async () => {
      const started = performance.now();
      const order: string[] = [];
      const job = server.post(path, body).then(async (response) => {
        const { data } = (await response.json()) as { data: object[] };
        assert.equal(data.length, input.length);
        order.push('job');
      });
      await until(() => server.model.numCalls === 1);
      const written = await server.post('/v1/generate', { prompt: '春', maxLength: 3, minLength: 3 });
      assert.equal(written.status, 200);
      order.push('written');
      assert.equal((await server.post('/v1/embeddings', { input: '春江' })).status, 200);
      order.push('embedded');
      await job;
      assert.deepEqual(order, ['written', 'embedded', 'job']);
      const wholeMs = performance.now() - started;

      const stop = new AbortController();
      const dropped = server.post(path, body, { signal: stop.signal });
      await until(() => server.model.numCalls === 1);
      const stopped = performance.now();
      stop.abort();
      await assert.rejects(dropped);
      await server.post('/v1/embeddings', { input: '春江' });
      await server.post('/v1/generate', { prompt: '春', maxLength: 3, minLength: 3 });
      const restMs = performance.now() - stopped;
      assert.ok(restMs < wholeMs / 2, `${restMs} ms after the end of a job that takes ${wholeMs} ms`);
    });
});
