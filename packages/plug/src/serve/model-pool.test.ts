// Several models within a memory limit, and runs that clients have loaded, through real processes.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { temporaryFolder, writeTestModel } from '../finetune/finetune.test-support.js';
import { describeModel } from './describe-model.js';
import { ModelPool } from './index.js';
import { startServer, type TestServer, testLimits, until } from './serve.test-support.js';

const folder = temporaryFolder();
const modelFolder = writeTestModel(folder, { maxPositionEmbeddings: 48 });
const hosting = {
  precision: 'float32',
  threads: 1,
  maxRows: 16,
  cacheBytes: 2 ** 28,
  maxCalls: 300,
} as const;
const { bytes } = describeModel({ ...hosting, folder: modelFolder });

interface ModelObject {
  id: string;
  loaded: boolean;
  ready: boolean;
  run?: string;
  canWrite: boolean;
}

async function modelsOf({ url }: TestServer): Promise<Record<string, ModelObject>> {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: ModelObject[] };
  return Object.fromEntries(data.map((model) => [model.id, model]));
}

async function metricOf({ url }: TestServer, name: string, model: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{model="${model}"\\} (\\S+)$`, 'm').exec(text)?.[1]);
}

async function errorOf(response: Response): Promise<{ code: string; param: string | null; message: string }> {
  return ((await response.json()) as { error: { code: string; param: string | null; message: string } })
    .error;
}

const short = (model: string): object => ({ model, prompt: '春', maxLength: 4 });
/** More than a connection holds: in use until its reader goes away. */
const endless = (model: string): object => ({
  model,
  prompt: '',
  maxLength: 4000,
  minLength: 4000,
  numCandidates: 16,
  alternatives: 20,
  stream: true,
});

describe('models within a memory limit', () => {
  const three = { one: modelFolder, two: modelFolder, three: modelFolder };

  it('loads the first, others when they are asked for, and unloads the least recently used idle one', async () => {
    const server = await startServer({ folder: three, memoryBytes: 2.9 * bytes });
    const loaded = async (): Promise<string[]> =>
      Object.values(await modelsOf(server)).flatMap((model) => (model.loaded ? [model.id] : []));
    assert.deepEqual(await loaded(), ['one']);
    assert.ok((await modelsOf(server)).two!.canWrite, 'what a model can do is known before it is loaded');
    assert.equal((await fetch(`${server.url}/ready`)).status, 200);
    assert.equal((await server.post('/v1/generate', short('two'))).status, 200);
    assert.deepEqual(await loaded(), ['one', 'two']);
    assert.equal((await server.post('/v1/generate', short('one'))).status, 200);
    const crowd = await Promise.all(
      Array.from({ length: 5 }, () => server.post('/v1/generate', short('three'))),
    );
    assert.deepEqual([...new Set(crowd.map(({ status }) => status))], [200]);
    assert.deepEqual(await loaded(), ['one', 'three']);
    assert.equal(await metricOf(server, 'plug_model_loads_total', 'three'), 1);
    assert.equal(await metricOf(server, 'plug_model_unloads_total', 'two'), 1);
    assert.ok((await metricOf(server, 'plug_model_memory_bytes', 'one')) >= bytes);
    assert.equal(await metricOf(server, 'plug_model_memory_bytes', 'two'), 0);
  });

  it('never unloads a model in use: others wait for it', async () => {
    const server = await startServer({ folder: three, memoryBytes: 1.5 * bytes });
    const stop = new AbortController();
    const endlessly = await server.post('/v1/generate', endless('one'), { signal: stop.signal });
    const firstProcess = server.model.processId;
    const impatient = new AbortController();
    const left = server.post('/v1/generate', short('two'), { signal: impatient.signal });
    setTimeout(() => impatient.abort(), 200);
    await assert.rejects(left);
    assert.equal((await server.post('/v1/generate', short('one'))).status, 200, 'nobody waits for room now');
    assert.equal(server.model.processId, firstProcess);
    const waiting = server.post('/v1/generate', short('two'));
    setTimeout(() => stop.abort(), 300);
    assert.equal((await waiting).status, 200);
    const models = await modelsOf(server);
    assert.deepEqual([models.one!.loaded, models.two!.loaded], [false, true]);
    assert.equal(endlessly.status, 200); // held until here: a response that nobody holds is collected, and hung up
  });

  it('tells those who get no room in their time when to come again', async () => {
    const limits = { ...testLimits, requestTimeoutMs: 1000 };
    const server = await startServer({ folder: three, memoryBytes: 1.5 * bytes, limits });
    const lease = await server.models.acquire(server.models.models[0]!, new AbortController().signal);
    const refused = await server.post('/v1/generate', short('two'));
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '10');
    assert.equal((await errorOf(refused)).code, 'no_room');
    assert.ok(server.model.isReady);
    lease.release();
  });

  it('lets who waits for room in before those who come later to the model in use', async () => {
    const server = await startServer({ folder: three, memoryBytes: 1.5 * bytes });
    const [one, two] = server.models.models;
    const signal = new AbortController().signal;
    const first = await server.models.acquire(one!, signal);
    const order: string[] = [];
    const later = [two!, one!].map(async (model) => {
      const lease = await server.models.acquire(model, signal);
      order.push(model.name);
      lease.release();
    });
    first.release();
    await Promise.all(later);
    assert.deepEqual(order, ['two', 'one']);
  });

  it('refuses at once a model that never fits, and fails cleanly one whose files are gone', async () => {
    const pool = new ModelPool({ hosting, memoryBytes: bytes - 1 });
    assert.throws(
      () => pool.add('large', modelFolder),
      (error) =>
        error instanceof ConfigError && /takes \d+ MiB in float32.*--memory-mb is \d+/.test(error.message),
    );
    const broken = join(folder, 'broken');
    cpSync(modelFolder, broken, { recursive: true });
    const server = await startServer({ folder: { one: modelFolder, broken }, memoryBytes: 1.5 * bytes });
    truncateSync(join(broken, 'model.safetensors'), 100);
    assert.equal((await server.post('/v1/generate', short('broken'))).status, 500);
    assert.equal((await server.post('/v1/generate', short('one'))).status, 200);
  });
});

describe('runs that clients have loaded', async () => {
  const runsFolder = join(folder, 'runs');
  const outside = join(folder, 'outside');
  mkdirSync(join(runsFolder, 'unfinished'), { recursive: true });
  cpSync(modelFolder, join(runsFolder, 'spring-run', 'model'), { recursive: true });
  cpSync(modelFolder, outside, { recursive: true });
  symlinkSync(outside, join(runsFolder, 'link'));
  mkdirSync(join(runsFolder, 'half'));
  symlinkSync(outside, join(runsFolder, 'half', 'model'));
  writeFileSync(join(runsFolder, 'notes.txt'), '');
  cpSync(modelFolder, join(runsFolder, 'damaged'), { recursive: true });
  truncateSync(join(runsFolder, 'damaged', 'model.safetensors'), 100);
  const server = await startServer({ folder: modelFolder, runsFolder });

  it('are loaded, used and unloaded', async () => {
    const loaded = await server.post('/v1/models/load', { folder: 'spring-run' });
    assert.equal(loaded.status, 200);
    const object = (await loaded.json()) as ModelObject;
    assert.deepEqual(
      [object.id, object.run, object.loaded, object.ready],
      ['spring-run', 'spring-run', true, true],
    );
    assert.deepEqual((await modelsOf(server))['spring-run'], object);
    assert.equal((await server.post('/v1/models/load', { folder: './spring-run/' })).status, 200, 'again');
    assert.equal((await server.post('/v1/generate', short('spring-run'))).status, 200);
    const process = server.models.find('spring-run')!.hosted!.processId!;
    // One that is in use is unloaded when it no longer is.
    const stop = new AbortController();
    const endlessly = await server.post('/v1/generate', endless('spring-run'), { signal: stop.signal });
    const unloading = server.post('/v1/models/unload', { model: 'spring-run' });
    await until(() => server.models.find('spring-run') === undefined);
    assert.equal((await server.post('/v1/generate', short('spring-run'))).status, 404);
    globalThis.process.kill(process, 0);
    stop.abort();
    assert.deepEqual(await (await unloading).json(), { id: 'spring-run', object: 'model', unloaded: true });
    assert.throws(() => globalThis.process.kill(process, 0), /ESRCH/);
    assert.equal((await server.post('/v1/models/unload', { model: 'spring-run' })).status, 404);
    assert.equal(endlessly.status, 200); // held until here
    assert.equal(
      (await server.post('/v1/models/unload', { model: 'spring' })).status,
      409,
      'named at the start',
    );
  });

  for (const [run, status, code] of [
    ['../outside', 403, 'outside_runs'],
    ['spring-run/../../outside', 403, 'outside_runs'],
    [outside, 403, 'outside_runs'],
    ['/etc', 403, 'outside_runs'],
    ['..', 403, 'outside_runs'],
    ['.', 403, 'outside_runs'],
    ['link', 403, 'outside_runs'],
    ['half', 403, 'outside_runs'],
    ['none', 404, 'run_not_found'],
    ['notes.txt/x', 404, 'run_not_found'],
    ['unfinished', 400, 'no_model'],
    ['notes.txt', 400, 'no_model'],
    ['damaged', 400, 'cannot_load'],
    ['spring-run\0', 400, 'invalid_value'],
    ['x'.repeat(300), 404, 'run_not_found'],
  ] as const)
    it(`${JSON.stringify(run).slice(0, 40)} is answered with ${status} ${code}`, async () => {
      const response = await server.post('/v1/models/load', { folder: run });
      assert.equal(response.status, status);
      const error = await errorOf(response);
      assert.deepEqual([error.code, error.param], [code, 'folder']);
      assert.deepEqual(Object.keys(await modelsOf(server)), ['spring']);
    });

  it('cannot take the name of another model, nor come from a server without runs', async () => {
    const taken = await server.post('/v1/models/load', { folder: 'spring-run', model: 'spring' });
    assert.equal(taken.status, 409);
    assert.equal((await errorOf(taken)).code, 'name_taken');
    const bare = await startServer({ folder: modelFolder, runsFolder: join(folder, 'absent') });
    assert.equal((await bare.post('/v1/models/load', { folder: 'spring-run' })).status, 404);
    assert.equal((await bare.post('/v1/models/load', { folder: '../runs/spring-run' })).status, 403);
  });
});
