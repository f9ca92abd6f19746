// The routes of the results against real small runs: what they say is what the files hold, and nothing else can be read.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { publishedRows } from '../evaluate/index.js';
import type { ServerOptions } from './index.js';
import type { BoardAnswer, ErrorsAnswer, ListedResult, ResultAnswer } from './results/schemas.js';
import { makeTestRuns, numDev } from './results.test-support.js';
import { startServer } from './serve.test-support.js';

interface StoredRun {
  dev: { accuracy: number; confusion: number[][] };
}

/** Address of a server without a model, which none of these routes asks. */
async function serveRuns(runsFolder: string, tokens?: ServerOptions['tokens']): Promise<string> {
  return (await startServer({ folder: {}, runsFolder, tokens })).url;
}

describe('results of runs', async () => {
  const { folder } = await makeTestRuns();
  const url = await serveRuns(folder);
  const get = async <Answer>(path: string): Promise<Answer> => {
    const response = await fetch(url + path);
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as Answer;
  };
  const refusal = async (path: string, status: number): Promise<{ param: string; message: string }> => {
    const response = await fetch(url + path);
    const text = await response.text();
    assert.equal(response.status, status, text);
    return (JSON.parse(text) as { error: { param: string; message: string } }).error;
  };
  const listed = async () =>
    await get<{ results: ListedResult[]; problems: { file: string; message: string }[] }>('/v1/results');
  const stored = JSON.parse(readFileSync(join(folder, 'clue/ocnli/result.json'), 'utf8')) as StoredRun;
  const errors = `/v1/results/${encodeURIComponent('clue/ocnli/dev')}/errors`;

  it('stand on the board beside the published rows', async () => {
    const { rows, tasks } = await get<BoardAnswer>('/v1/board');
    assert.deepEqual(
      rows.slice(0, publishedRows.length).map(({ name, own }) => [name, own]),
      publishedRows.map(({ name }) => [name, false]),
    );
    const own = rows.slice(publishedRows.length);
    assert.deepEqual(
      own.map(({ name, source }) => [name, source]),
      [['clue', 'own dev']],
    );
    const { cells, missing, mean } = own[0]!;
    assert.equal(cells.ocnli!.value, 100 * stored.dev.accuracy);
    assert.equal(cells.ocnli!.id, 'clue/ocnli/dev');
    assert.equal(missing.length, tasks.length - 2);
    assert.equal(mean, Number(((cells.ocnli!.value + cells.csl!.value) / 2).toFixed(3)));
  });

  it('are listed with their figures, seeds as one mean, texts that were written with theirs', async () => {
    const { results, problems } = await listed();
    assert.deepEqual(problems, []);
    const byId = new Map(results.map((result) => [result.id, result]));
    assert.deepEqual([...byId.keys()].sort(), [
      ...['chain/seed-1/test', 'chain/seed-2/test', 'chain/test'],
      ...['clue/csl/dev', 'clue/ocnli/dev', 'copy/dev'],
    ]);
    const { trials, figures } = byId.get('chain/test')!;
    const values = ['chain/seed-1/test', 'chain/seed-2/test'].map((id) => byId.get(id)!.figures.accuracy!);
    assert.equal(figures.accuracy, (values[0]! + values[1]!) / 2);
    const deviation = Math.abs(values[0]! - values[1]!) / Math.SQRT2;
    assert.ok(Math.abs(trials!.standardDeviation! - deviation) < 1e-9);
    assert.equal(byId.get('chain/seed-1/test')!.partOf, 'chain/test');
    const copy = byId.get('copy/dev')!;
    assert.ok(copy.figures.bitsPerCharacter! > 0 && copy.figures.bleu4! >= 0);
    assert.equal(copy.numWritten, 8);
  });

  it('tell how they were made, without the places of files', async () => {
    const result = await get<ResultAnswer>(`/v1/results/${encodeURIComponent('clue/ocnli/dev')}`);
    assert.deepEqual(result.confusion, stored.dev.confusion);
    assert.equal(result.settings.maxSteps, 2);
    assert.deepEqual(
      result.labels?.map(({ name }) => name),
      ['other', 'spring'],
    );
    assert.ok(!JSON.stringify(result).includes(dirname(folder)));
  });

  it('let their errors be read by the page, by label, and by a part of a text', async () => {
    const all = await get<ErrorsAnswer>(`${errors}?limit=100`);
    const wrong = Math.round(numDev * (1 - stored.dev.accuracy));
    assert.equal(all.total, wrong);
    assert.equal(all.rows.length, wrong);
    const sure = all.rows.map(({ probability }) => probability!);
    assert.deepEqual(
      sure,
      [...sure].sort((a, b) => b - a),
    );
    const page = await get<ErrorsAnswer>(`${errors}?offset=3&limit=4`);
    assert.deepEqual(page.rows, all.rows.slice(3, 7));
    for (const [gold, predicted, cell] of [
      ['other', 'spring', stored.dev.confusion[0]![1]!],
      ['spring', 'other', stored.dev.confusion[1]![0]!],
    ] as const) {
      const { total, rows } = await get<ErrorsAnswer>(`${errors}?label=${gold}&predicted=${predicted}`);
      assert.equal(total, cell);
      assert.ok(rows.every((row) => row.gold === gold && row.prediction === predicted));
    }
    const { text } = all.rows[0]!.input as { text: string };
    const found = await get<ErrorsAnswer>(`${errors}?search=${encodeURIComponent(text.slice(1, 4))}`);
    assert.ok(found.total >= 1 && found.total < all.total);
    assert.ok(found.rows.some((row) => row.input.text === text));
  });

  it('refuse what is out of bounds with the field that is wrong', async () => {
    for (const [query, param] of [
      ['offset=-1', 'offset'],
      ['offset=x', 'offset'],
      ['limit=101', 'limit'],
      ['limit=1&limit=2', 'limit'],
      [`search=${'春'.repeat(201)}`, 'search'],
      ['lable=other', 'lable'],
    ])
      assert.equal((await refusal(`${errors}?${query}`, 400)).param, param, query);
  });

  it('are found by their names alone: no way leads out of the folder', async () => {
    const outside = join(dirname(folder), 'outside');
    mkdirSync(join(outside, 'errors'), { recursive: true });
    for (const file of ['result.json', 'settings.json', 'errors/dev.jsonl'])
      writeFileSync(join(outside, file), readFileSync(join(folder, 'clue/ocnli', file)));
    symlinkSync(outside, join(folder, 'linked'));
    symlinkSync(folder, join(folder, 'clue', 'round'));
    mkdirSync(join(folder, 'half'));
    for (const file of ['result.json', 'settings.json'])
      writeFileSync(join(folder, 'half', file), readFileSync(join(folder, 'clue/ocnli', file)));
    symlinkSync(join(outside, 'errors'), join(folder, 'half', 'errors'));

    const { results } = await listed();
    const ids = results.map(({ id }) => id);
    assert.ok(!ids.some((id) => id.startsWith('linked') || id.includes('round')), `${ids}`);
    assert.equal(results.find(({ id }) => id === 'half/dev')!.hasErrors, false);
    for (const id of [
      'linked/dev',
      '../outside/dev',
      '../..',
      '/etc/passwd',
      'clue/ocnli/../ocnli/dev',
      'half\0/dev',
    ])
      for (const rest of ['', '/errors'])
        assert.equal((await refusal(`/v1/results/${encodeURIComponent(id)}${rest}`, 404)).param, 'id', id);
    assert.match((await refusal('/v1/results/half%2Fdev/errors', 404)).message, /plug evaluate/);
    for (const way of ['linked', 'clue/round', 'half']) rmSync(join(folder, way), { recursive: true });
  });

  it('survive files that are damaged, huge, or no files', async () => {
    mkdirSync(join(folder, 'broken'));
    mkdirSync(join(folder, 'huge'));
    mkdirSync(join(folder, 'odd', 'result.json'), { recursive: true });
    writeFileSync(join(folder, 'broken', 'result.json'), '{"dev": {"accuracy": "much"}}');
    writeFileSync(join(folder, 'huge', 'result.json'), ' '.repeat(5 * 2 ** 20));
    const { results, problems } = await listed();
    assert.equal(results.length, 6);
    assert.deepEqual(
      problems.map(({ file }) => file),
      ['broken/result.json', 'huge/result.json'],
    );
    assert.match(problems[0]!.message, /^dev\.accuracy/);
    const path = join(folder, 'clue/ocnli/errors/dev.jsonl');
    const before = readFileSync(path, 'utf8');
    writeFileSync(path, `${'x'.repeat(3 * 2 ** 20)}\n{"id": 1}\n${before}{"id": 2, "pre`);
    const numLines = before.split('\n').length - 1;
    assert.equal((await get<ErrorsAnswer>(errors)).total, numLines);
    writeFileSync(path, before);
    for (const way of ['broken', 'huge', 'odd']) rmSync(join(folder, way), { recursive: true });
  });

  it('are none without a folder, and the published rows stay', async () => {
    const bare = await serveRuns(join(folder, 'nothing-there'));
    const { results } = (await (await fetch(`${bare}/v1/results`)).json()) as { results: unknown[] };
    assert.deepEqual(results, []);
    const { rows } = (await (await fetch(`${bare}/v1/board`)).json()) as BoardAnswer;
    assert.equal(rows.length, publishedRows.length);
  });

  it('are for those who have a token, where there are tokens', async () => {
    const closed = await serveRuns(folder, []);
    for (const path of ['/v1/board', '/v1/results', errors])
      assert.equal((await fetch(closed + path)).status, 401, path);
  });
});
