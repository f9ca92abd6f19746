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
