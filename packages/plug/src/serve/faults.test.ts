// What must not hurt a server: bad requests, strangers, floods, slow senders, and the death of a model.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { temporaryFolder, writeTestModel } from '../finetune/finetune.test-support.js';
import { addToken, HostedModel, readTokenFile, studioFolder } from './index.js';
import { eventsOf, startServer, until } from './serve.test-support.js';

const modelFolder = writeTestModel(temporaryFolder(), { maxPositionEmbeddings: 48 });
const scratch = mkdtempSync(join(tmpdir(), 'plug-serve-'));
after(() => rmSync(scratch, { recursive: true }));
const server = await startServer({ folder: modelFolder, maxCalls: 4, headersTimeoutMs: 500 });

interface ErrorAnswer {
  error: { message: string; type: string; param: string | null; code: string };
}

async function errorOf(response: Response): Promise<ErrorAnswer['error']> {
  return ((await response.json()) as ErrorAnswer).error;
}

/** Raw bytes to the server, and all that comes back until it closes. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { port, hostname } = new URL(server.url);
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let answer = '';
    socket.setEncoding('utf8').on('data', (piece: string) => {
      answer += piece;
    });
    socket.on('close', () => resolve(answer)).on('error', reject);
  });
}

describe('a bad request', () => {
  const long = '春'.repeat(401);
  const cases: [path: string, body: unknown, status: number, param: string | null, message: RegExp][] = [
    ['/v1/completions', { prompt: '春', max_token: 5 }, 400, 'max_token', /Did you mean "max_tokens"/],
    ['/v1/completions', { prompt: 5 }, 400, 'prompt', /prompt/],
    ['/v1/completions', {}, 400, 'prompt', /prompt/],
    ['/v1/completions', { prompt: [] }, 400, 'prompt', /prompt/],
    ['/v1/completions', { prompt: '春', temperature: -1 }, 400, 'temperature', />=0/],
    ['/v1/completions', { prompt: '春', max_tokens: 5000 }, 400, 'max_tokens', /at most 4000/],
    ['/v1/completions', { prompt: Array(8).fill('春'), n: 4 }, 400, 'n', /at most 20/],
    ['/v1/completions', { prompt: '春', n: 2, temperature: 0 }, 400, 'n', /^n is 2.*same text/],
    ['/v1/completions', { prompt: ['春', long] }, 400, 'prompt', /Text 1 of prompt has 401/],
    ['/v1/completions', { prompt: '春', frequency_penalty: 1 }, 400, 'frequency_penalty', /0/],
    ['/v1/completions', [1], 400, null, /body/],
    ['/v1/completions', null, 400, null, /body/],
    ['/v1/chat/completions', { messages: [{ role: 'king', content: '' }] }, 400, 'messages.0.role', /role/],
    ['/v1/chat/completions', { messages: [] }, 400, 'messages', /messages/],
    [
      '/v1/chat/completions',
      { messages: [{ role: 'user', content: 'x', age: 3 }] },
      400,
      'messages.0.age',
      /age/,
    ],
    ['/v1/generate', { prompt: '春', maxlength: 5 }, 400, 'maxlength', /"maxLength"/],
    ['/v1/generate', { prompt: '春', minLength: 5, maxLength: 4 }, 400, 'minLength', /more than/],
    ['/v1/generate', { prompt: '春', refreshTokens: 0, maxLength: 100 }, 400, 'maxLength', /48 positions/],
    ['/v1/generate', { prompt: '春', numCandidates: 2, temperature: 0 }, 400, 'numCandidates', /same text/],
    ['/v1/generate', { prompt: '春', seed: 1.5 }, 400, 'seed', /int/],
    ['/v1/generate', { prompt: '春', model: '../../etc' }, 404, 'model', /no model/],
    ['/v1/embeddings', { input: ['春', ' '] }, 400, 'input', /1 is empty/],
    ['/v1/score', { input: '春', labels: ['a'] }, 400, 'labels', /labels/],
    ['/v1/score', { input: '春', labels: ['a', 'a'] }, 400, 'labels', /the same/],
    ['/v1/score', { input: '春', labels: ['a', 'b'], source: 'x' }, 400, 'source', /\{text\}/],
  ];
  for (const [path, body, status, param, message] of cases)
    it(`${path} ${JSON.stringify(body)?.slice(0, 60)}`, async () => {
      const response = await server.post(path, body);
      assert.equal(response.status, status);
      const error = await errorOf(response);
      assert.equal(error.param, param);
      assert.match(error.message, message);
      assert.equal(server.model.numCalls, 0);
    });

  it('is no JSON, too large, of another type, of another method, or leads out of the server', async () => {
    const bad = await server.post('/v1/generate', 0, { body: '{"prompt": "' });
    assert.equal(bad.status, 400);
    assert.ok((await errorOf(bad)).message);
    const large = await server.post('/v1/generate', { prompt: 'x'.repeat(70_000) });
    assert.equal(large.status, 413);
    const other = await server.post('/v1/generate', 0, {
      body: 'a=1',
      headers: { 'content-type': 'text/plain' },
    });
    assert.equal(other.status, 415);
    assert.equal((await fetch(`${server.url}/v1/generate`)).status, 404);
    for (const path of ['/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/v1/..%2f..%2fetc/passwd']) {
      const answer = await raw(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      assert.match(answer, /^HTTP\/1.1 404 /, path);
      assert.doesNotMatch(answer, /root:/);
    }
  });

  it('cannot put headers into an answer', async () => {
    const injected = encodeURIComponent('x\r\nset-cookie: a=b');
    const response = await fetch(`${server.url}/${injected}`);
    assert.equal(response.status, 404);
    assert.equal(response.headers.get('set-cookie'), null);
    const answer = await raw('GET /health HTTP/1.1\r\nhost: x\r\nbad header: y\r\n\r\n');
    assert.match(answer, /^HTTP\/1.1 400 /);
  });

  it('is cut off when it dribbles its headers', async () => {
    const started = Date.now();
    const answer = await raw('POST /v1/generate HTTP/1.1\r\nhost: x\r\n');
    assert.match(answer, /^HTTP\/1.1 408 /);
    assert.ok(Date.now() - started < 8000);
  });

  it('is met with headers that keep a browser from harm, and no CORS', async () => {
    const { headers } = await fetch(`${server.url}/health`, { headers: { origin: 'http://elsewhere' } });
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.match(headers.get('content-security-policy')!, /default-src 'self'/);
    assert.equal(headers.get('access-control-allow-origin'), null);
  });
});

describe('too many requests', () => {
  it('get 429 and when to try again, and those before go on', async () => {
    const body = { prompt: '', maxLength: 1000, minLength: 1000 }; // not one is done before the last has come
    const answers = await Promise.all(Array.from({ length: 8 }, () => server.post('/v1/generate', body)));
    const statuses = answers.map(({ status }) => status).sort();
    assert.deepEqual(statuses, [200, 200, 200, 200, 429, 429, 429, 429]);
    const refused = answers.find(({ status }) => status === 429)!;
    assert.equal(refused.headers.get('retry-after'), '1');
    assert.equal((await errorOf(refused)).code, 'overloaded');
  });
});

it('a caller that is gone leaves the batch at once, though nobody reads on', async () => {
  const gone = new AbortController();
  const settings = { maxLength: 4000, minLength: 4000 };
  const tokens = server.model.write({ prompt: '', settings }, { client: 'x', signal: gone.signal });
  await tokens.next();
  assert.equal(server.model.numCalls, 1);
  gone.abort(new Error('gone'));
  assert.equal(server.model.numCalls, 0);
  await assert.rejects(tokens.next(), /gone/);
});

describe('a model’s process that is killed', () => {
  it('fails its requests, is started again, and writes what it wrote before', async () => {
    const body = { prompt: '春', maxLength: 12, seed: 4 };
    const before = await (await server.post('/v1/generate', body)).json();
    const long = { prompt: '', maxLength: 4000, minLength: 4000 };
    const whole = server.post('/v1/generate', long);
    const stream = await server.post('/v1/generate', { ...long, stream: true });
    await until(() => server.model.load.rows === 2);
    const first = server.model.processId!;
    process.kill(first, 'SIGKILL');
    const failed = await whole;
    assert.equal(failed.status, 503);
    assert.equal((await errorOf(failed)).code, 'model_restarting');
    const { error } = (await eventsOf(stream)).at(-1) as unknown as ErrorAnswer;
    assert.equal(error.code, 'model_restarting');
    assert.equal((await fetch(`${server.url}/ready`)).status, 503);
    const loading = await server.post('/v1/generate', body);
    assert.equal(loading.status, 503);
    assert.equal(loading.headers.get('retry-after'), '2');
    await until(() => server.model.isReady);
    assert.notEqual(server.model.processId, first);
    assert.equal((await fetch(`${server.url}/ready`)).status, 200);
    assert.deepEqual(await (await server.post('/v1/generate', body)).json(), before);
  });

  it('tells at the start what is wrong with its folder', async () => {
    const options = { precision: 'auto', threads: 1, maxRows: 1, cacheBytes: 1, maxCalls: 1 } as const;
    await assert.rejects(
      HostedModel.start({ ...options, name: 'x', folder: scratch }),
      /no model|config\.json/,
    );
  });
});

describe('tokens', () => {
  const file = join(scratch, 'tokens.txt');
  const token = addToken(file, 'alice');
  const slow = addToken(file, 'bob');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/^(bob .*)$/m, '$1 2'));

  it('are wanted everywhere but for health, and are limited one by one', async () => {
    assert.ok(!readFileSync(file, 'utf8').includes(token));
    const guarded = await startServer({
      studio: studioFolder(),
      folder: modelFolder,
      tokens: readTokenFile(file),
      requestsPerMinute: 1000,
    });
    const ask = (authorization?: string): Promise<Response> =>
      guarded.post(
        '/v1/generate',
        { prompt: '', maxLength: 1 },
        authorization ? { headers: { authorization } } : {},
      );
    for (const [header, code] of [
      [undefined, 'missing_token'],
      ['Basic abc', 'missing_token'],
      ['Bearer plug-wrong', 'invalid_token'],
    ] as const) {
      const response = await ask(header);
      assert.equal(response.status, 401);
      assert.equal(response.headers.get('www-authenticate'), 'Bearer');
      assert.equal((await errorOf(response)).code, code);
    }
    for (const path of [
      '/v1/models',
      '/metrics',
      '/openapi.json',
      '/nowhere',
      '/v1/models?/health',
      '/assets/..%2f..%2fpackage.json',
      '/package.json',
    ])
      assert.equal((await fetch(guarded.url + path)).status, 401, path);
    for (const path of ['/health', '/ready', '/', '/icon.svg'])
      assert.equal((await fetch(guarded.url + path)).status, 200, path);
    assert.equal((await ask(`Bearer ${token}`)).status, 200);
    const statuses: number[] = [];
    for (let index = 0; index < 3; index++) statuses.push((await ask(`Bearer ${slow}`)).status);
    assert.deepEqual(statuses, [200, 200, 429]);
    assert.equal((await errorOf(await ask(`Bearer ${slow}`))).code, 'rate_limit_exceeded');
    assert.equal((await ask(`Bearer ${token}`)).status, 200);
  });

  it('come from a file whose mistakes are named', () => {
    const bad = join(scratch, 'bad.txt');
    for (const [text, message] of [
      ['alice secret\n', /bad\.txt:1: expected/],
      ['# nobody\n', /holds no token/],
    ] as const) {
      writeFileSync(bad, text);
      assert.throws(
        () => readTokenFile(bad),
        (error) => error instanceof ConfigError && message.test(error.message),
      );
    }
    assert.throws(() => readTokenFile(join(scratch, 'none')), /cannot be read/);
    assert.throws(() => addToken(file, 'two words'), /1 to 64/);
  });
});
