// What the server tells of its models: tensors, card, tokens, plans, and which characters mattered; and what it refuses.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inspectFolder } from '../checkpoint/index.js';
import {
  springExamples,
  springTask,
  temporaryFolder,
  testTokenizer,
  writeTestModel,
} from '../finetune/finetune.test-support.js';
import { finetune } from '../finetune/index.js';
import { startServer, type TestServer, until } from './serve.test-support.js';

const folder = temporaryFolder();
const modelFolder = writeTestModel(folder, { maxPositionEmbeddings: 48 });
const server = await startServer({ folder: modelFolder });

async function get<Answer>(path: string, status = 200): Promise<Answer> {
  const response = await fetch(`${server.url}${path}`);
  assert.equal(response.status, status, path);
  return (await response.json()) as Answer;
}

async function refused(from: TestServer, path: string, body: object, param: string | null, message: RegExp) {
  const response = await from.post(path, body);
  const { error } = (await response.json()) as { error: { message: string; param: string | null } };
  assert.equal(response.status, 400, error.message);
  assert.match(error.message, message);
  assert.equal(error.param, param);
}

describe('what a model is', () => {
  it('lists the tensors of the folder with their places, and what is held', async () => {
    const found = await get<{
      stored: string;
      bytes: number;
      heldBytes: number;
      folder?: string;
      parameters: number;
      tensors: { name: string; part: string; layer?: number; bytes: number; parameters: number }[];
    }>('/v1/models/spring/parameters');
    const { tensors, bytes } = inspectFolder(modelFolder);
    assert.deepEqual(
      found.tensors.map(({ name, bytes: size }) => [name, size]),
      tensors.map(({ name, bytes: size }) => [name, size]),
    );
    assert.equal(found.bytes, bytes);
    assert.equal(
      found.tensors.reduce((sum, tensor) => sum + tensor.parameters, 0),
      found.parameters,
    );
    assert.equal(found.stored, 'plain');
    assert.ok(found.heldBytes > 0 && found.heldBytes < 2 * bytes);
    assert.equal(found.folder, undefined, 'where it lies is nobody’s business');
    const query = found.tensors.find(({ name }) => name.includes('cross_attention.query.weight'))!;
    assert.deepEqual([query.part, query.layer], ['decoder', 0]);
    await get('/v1/models/autumn/parameters', 404);
    await get('/v1/models/..%2F..%2Fetc/parameters', 404);
  });

  it('shows the card of the folder, and nothing outside it', async () => {
    await get('/v1/models/spring/card', 404);
    const outside = join(folder, 'secret.md');
    writeFileSync(outside, 'secret');
    symlinkSync(outside, join(modelFolder, 'README.md'));
    await get('/v1/models/spring/card', 404);
    unlinkSync(join(modelFolder, 'README.md'));
    mkdirSync(join(modelFolder, 'MODEL_CARD.md'));
    await get('/v1/models/spring/card', 404);
    writeFileSync(join(modelFolder, 'README.md'), '# 春\n');
    assert.deepEqual(await get('/v1/models/spring/card'), {
      model: 'spring',
      file: 'README.md',
      text: '# 春\n',
    });
    writeFileSync(join(modelFolder, 'README.md'), 'x'.repeat(300_000));
    await get('/v1/models/spring/card', 413);
  });

  it('cuts texts into tokens, special ones taken as they are spelled', async () => {
    const answer = await server.post('/v1/tokenize', { input: ['春江', 'x[MASK]', ''] });
    const { data, vocabSize } = (await answer.json()) as {
      data: { tokens: { id: number; token: string }[]; numUnknown: number }[];
      vocabSize: number;
    };
    assert.equal(vocabSize, testTokenizer.vocabSize);
    assert.deepEqual(
      data[0]!.tokens.map(({ token }) => token),
      ['春', '江'],
    );
    assert.deepEqual(
      data[0]!.tokens.map(({ id }) => id),
      [...testTokenizer.encode('春江')],
    );
    assert.deepEqual([data[0]!.numUnknown, data[1]!.numUnknown, data[2]!.tokens], [0, 4, []]);
    await refused(server, '/v1/tokenize', { input: '春'.repeat(500) }, 'input', /500 characters/);
    await refused(server, '/v1/tokenize', { input: 3 }, 'input', /./);
    await refused(server, '/v1/tokenize', { text: '春' }, 'input', /./);
  });
});

describe('/v1/plan', () => {
  const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));

  it('is what plug plan --json prints', async () => {
    for (const [body, flags] of [
      [
        { size: '27b', job: 'inference', dtype: 'int4', batch: 4, tensor: 8 },
        ['--size', '27b', '--job', 'inference', '--dtype', 'int4', '--batch', '4', '--tensor', '8'],
      ],
      [{ model: 'spring', sourceLength: 32, targetLength: 32, recompute: true }, undefined],
      [
        { hiddenSize: 1280, numAttentionHeads: 20, numHiddenLayers: 30, decHiddenLayers: 6, size: 'base' },
        '--hidden-size 1280 --num-attention-heads 20 --num-hidden-layers 30 --dec-hidden-layers 6 --size base'.split(
          ' ',
        ),
      ],
    ] as const) {
      const args = flags ?? [modelFolder, '--source-length', '32', '--target-length', '32', '--recompute'];
      const { stdout } = await promisify(execFile)(process.execPath, [program, 'plan', ...args, '--json']);
      const answer = await server.post('/v1/plan', body);
      assert.equal(answer.status, 200);
      const { title: _, ...plan } = (await answer.json()) as { title: string };
      const { title: __, ...printed } = JSON.parse(stdout) as { title: string };
      assert.deepEqual(plan, printed);
    }
  });

  it('names the field that does not fit', async () => {
    await refused(server, '/v1/plan', { size: 'base', dtype: 'int8' }, 'dtype', /use float32 or bfloat16/);
    await refused(server, '/v1/plan', { size: 'base', tensor: 5 }, 'tensor', /does not divide/);
    await refused(server, '/v1/plan', { size: 'base', sourceLength: 4096 }, 'sourceLength', /positions/);
    await refused(server, '/v1/plan', { hiddenSize: 64 }, 'numAttentionHeads', /is missing/);
    await refused(server, '/v1/plan', { size: 'base', numHiddenLayers: 100_000 }, 'numHiddenLayers', /256/);
    await refused(server, '/v1/plan', { size: 'base', measure: true }, 'measure', /no field/);
    assert.equal((await server.post('/v1/plan', { model: 'autumn' })).status, 404);
  });
});

describe('/v1/saliency', () => {
  interface Salient {
    label: string;
    units: { start: number; effect: number }[];
  }

  it('explains a classifier and labels, and refuses what it cannot', async () => {
    const out = join(folder, 'tuned');
    await finetune(
      springTask,
      { train: springExamples(1, 64) },
      {
        model: modelFolder,
        out,
        epochs: 20,
        tokensPerBatch: 128,
        learningRate: 3e-3,
        threads: 1,
        dtype: 'float32',
        maxLength: 24,
      },
    );
    const tuned = await startServer({ folder: out });
    const answer = (await (await tuned.post('/v1/saliency', { input: '江潮春水' })).json()) as Salient;
    assert.equal(answer.label, 'spring');
    const largest = answer.units.reduce((best, unit) => (unit.effect > best.effect ? unit : best));
    assert.equal(largest.start, 2);
    const labels = { input: '江潮', labels: ['春', '海'], label: '海' };
    const scored = (await (await server.post('/v1/saliency', labels)).json()) as Salient;
    assert.deepEqual([scored.label, scored.units.length], ['海', 2]);

    await refused(server, '/v1/saliency', { input: '江' }, 'labels', /no classifier/);
    await refused(server, '/v1/saliency', { input: ' ', labels: ['春', '海'] }, 'input', /empty/);
    await refused(server, '/v1/saliency', { ...labels, label: '山' }, 'label', /none of the labels/);
    await refused(server, '/v1/saliency', { ...labels, labels: ['春', '春'] }, 'labels', /same/);
    await refused(server, '/v1/saliency', { ...labels, source: '无' }, 'source', /\{text\}/);
    await refused(server, '/v1/saliency', { ...labels, input: '江'.repeat(401) }, 'input', /401 characters/);
    await refused(tuned, '/v1/saliency', { input: { text: '江', textPair: '水' } }, 'input', /single text/);
    await refused(tuned, '/v1/saliency', { input: '江', labels: ['春', '海'] }, 'model', /no decoder/);
  });

  it('lets texts be written meanwhile, and ends when the client goes away', async () => {
    const stop = new AbortController();
    const characters = [...'春江潮水連海平'];
    const labels = characters.flatMap((first) => characters.map((second) => first + second));
    const explaining = Array.from({ length: 12 }, () =>
      server.post('/v1/saliency', { input: '江'.repeat(200), labels }, { signal: stop.signal }),
    );
    const gone = Promise.allSettled(explaining);
    const written = await server.post('/v1/generate', { prompt: '春', maxLength: 4 });
    assert.equal(written.status, 200);
    assert.ok(server.model.numCalls > 0, 'a text was written while others were being explained');
    stop.abort();
    assert.ok((await gone).some(({ status }) => status === 'rejected'));
    await until(() => server.model.numCalls === 0);
  });
});
