// The client against a real server; and that a browser can load it.
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  springExamples,
  springTask,
  temporaryFolder,
  writeTestModel,
} from '../finetune/finetune.test-support.js';
import { finetune } from '../finetune/index.js';
import { addToken, readTokenFile } from '../serve/index.js';
import { startServer, until } from '../serve/serve.test-support.js';
import { ApiError, OpenPlugClient } from './index.js';

const folder = temporaryFolder();
const modelFolder = writeTestModel(folder, { maxPositionEmbeddings: 48 });
const runsFolder = join(folder, 'runs');
const settings = { maxSteps: 2, tokensPerBatch: 256, maxLength: 32, threads: 1, dtype: 'float32' } as const;
await finetune(
  springTask,
  { train: springExamples(1, 8) },
  { ...settings, model: modelFolder, out: join(runsFolder, 'mood') },
);
cpSync(modelFolder, join(runsFolder, 'spring-run', 'model'), { recursive: true });
const tokenFile = join(folder, 'tokens.txt');
const token = addToken(tokenFile, 'alice');
const server = await startServer({ folder: modelFolder, runsFolder, tokens: readTokenFile(tokenFile) });
const client = new OpenPlugClient({ baseUrl: `${server.url}/`, token });

describe('the client', () => {
  const request = { prompt: '春江', maxLength: 12, numCandidates: 2, seed: 3, alternatives: 2 };

  it('writes, whole and streamed', async () => {
    const whole = await client.generate(request);
    const texts = ['', ''];
    for await (const event of client.stream(request)) {
      if ('seed' in event) assert.deepEqual([event.model, event.seed, event.notes], ['spring', 3, []]);
      else if ('usage' in event) assert.deepEqual(event.usage, whole.usage);
      else {
        texts[event.candidate] += event.text;
        assert.equal(event.alternatives?.length, 2);
      }
    }
    assert.deepEqual(
      texts,
      whole.texts.map(({ text }) => text),
    );
  });

  it('stops the writing when its reader leaves, or aborts', async () => {
    const long = { prompt: '', maxLength: 4000, minLength: 4000 };
    for await (const _ of client.stream(long)) break;
    await until(() => server.model.numCalls === 0);
    const stop = new AbortController();
    await assert.rejects(
      async () => {
        for await (const event of client.stream(long, { signal: stop.signal }))
          if ('candidate' in event) stop.abort(new Error('enough'));
      },
      (error) => !(error instanceof ApiError),
    );
    await until(() => server.model.numCalls === 0);
  });

  it('loads a run, classifies with it, and unloads it; scores with labels of its own', async () => {
    const loaded = await client.loadModel({ folder: 'mood' });
    assert.deepEqual([loaded.id, loaded.run, loaded.labels], ['mood', 'mood', springTask.labels]);
    const { data } = await client.classify({ model: 'mood', input: ['春', '江'] });
    assert.equal(data.length, 2);
    await client.unloadModel('mood');
    assert.deepEqual(
      (await client.models()).map(({ id }) => id),
      ['spring'],
    );
    const scored = await client.score({ input: '春江', labels: ['春', '江'] });
    const sum = scored.data[0]!.labels.reduce((all, { probability }) => all + probability, 0);
    assert.ok(Math.abs(sum - 1) < 1e-6);
  });

  it('throws what the server said, and that it cannot be reached', async () => {
    await assert.rejects(client.generate({ ...request, maxLength: 0 }), {
      status: 400,
      param: 'maxLength',
      code: 'invalid_value',
    });
    const stranger = new OpenPlugClient({ baseUrl: server.url });
    await assert.rejects(stranger.models(), { name: 'ApiError', status: 401, code: 'missing_token' });
    await assert.rejects(client.stream({ ...request, model: 'none' }).next(), {
      status: 404,
      param: 'model',
    });
    const nowhere = new OpenPlugClient({ baseUrl: 'http://127.0.0.1:1' });
    await assert.rejects(nowhere.models(), { status: 0, code: 'unreachable' });
  });

  it('loads nothing but its own files, so that a browser can', () => {
    const files = readdirSync(import.meta.dirname).filter((name) => /^(?!.*\.test\.)[\w-]+\.js$/.test(name));
    assert.ok(files.length >= 3);
    for (const name of files) {
      const text = readFileSync(join(import.meta.dirname, name), 'utf8');
      for (const [, from] of text.matchAll(/\bfrom ['"]([^'"]+)['"]/g))
        assert.match(from!, /^\.\/[\w-]+\.js$/);
    }
  });
});
