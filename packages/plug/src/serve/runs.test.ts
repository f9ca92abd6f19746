// The routes of runs on real runs: what they say is what the run recorded; nothing outside the folder can be read, and
// no file can break them.
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder, writeTestModel } from '../finetune/finetune.test-support.js';
import { mlmUntilStep } from '../pretrain/index.js';
import { RunFolder } from '../train/index.js';
import { RunMetrics } from './run-metrics.js';
import type { RunSummary, SamplesAt } from './run-schemas.js';
import { totalSteps, writeRuns } from './runs.test-support.js';
import { startServer } from './serve.test-support.js';

type Points = Record<string, number>[];
interface Metrics {
  stride: number;
  lastStep: number;
  points: Points;
  evaluations: Points;
}

describe('the routes of runs', async () => {
  const folder = temporaryFolder();
  const root = await writeRuns(folder);
  const server = await startServer({ folder: writeTestModel(temporaryFolder()), runsFolder: root });
  const ask = (path: string): Promise<Response> => fetch(`${server.url}/v1/runs${path}`);
  const get = async <Body>(path: string): Promise<Body> => {
    const answer = await ask(path);
    assert.equal(answer.status, 200, await answer.clone().text());
    return (await answer.json()) as Body;
  };
  const named = (id: string, what: string): string => `/${encodeURIComponent(id)}/${what}`;
  const stage2 = join(root, 'quickstart', 'stage2');
  const longName = '名字很长的训练-'.repeat(6);

  it('list the runs of both stages and of tasks, however deep, with what they are and how far they came', async () => {
    const old = new Date(Date.now() - 3_600_000);
    for (const name of ['metrics.jsonl', 'settings.json', 'checkpoints'])
      utimesSync(join(root, longName, name), old, old);
    const { data } = await get<{ data: RunSummary[] }>('');
    const byId = new Map(data.map((run) => [run.id, run]));
    assert.deepEqual([...byId.keys()].sort(), [
      'quickstart/stage1',
      'quickstart/stage2',
      'spring/seed-1',
      longName,
    ]);
    const { updatedAt: _, tokensPerSecond, stepsPerSecond, loss, ...second } = byId.get('quickstart/stage2')!;
    const recorded = new RunFolder(stage2).metrics();
    const { kind, step, ...scores } = recorded.findLast((line) => line.kind === 'evaluate')!;
    assert.deepEqual([kind, step], ['evaluate', totalSteps]);
    assert.deepEqual(
      { ...second, settings: {} },
      {
        id: 'quickstart/stage2',
        kind: 'pretrain',
        stage: 2,
        switchStep: mlmUntilStep({ mlmFraction: 0.9, totalSteps }),
        state: 'finished',
        step: totalSteps,
        totalSteps,
        evaluation: { step: totalSteps, scores },
        opens: 'write',
        settings: {},
      },
    );
    assert.equal(loss, recorded.findLast((line) => line.kind === 'train')!.loss);
    assert.ok(tokensPerSecond! > 0 && stepsPerSecond! > 0);
    assert.equal(second.settings.init, 'quickstart/stage1', 'no path of the machine');
    const stopped = byId.get(longName)!;
    assert.deepEqual([stopped.state, stopped.step, stopped.opens], ['stopped', 12, undefined]);
    const task = byId.get('spring/seed-1')!;
    assert.deepEqual(
      [task.kind, task.task, task.state, task.opens],
      ['finetune', 'spring', 'finished', 'understand'],
    );
  });

  it('say that a run goes on while it writes, and how long it will', async () => {
    const settings = JSON.parse(readFileSync(join(stage2, 'settings.json'), 'utf8')) as object;
    const run = new RunFolder(join(root, 'live'));
    run.claimSettings({ ...settings, totalSteps: 1000 });
    for (let step = 1; step <= 10; step++)
      run.record({ kind: 'train', step, loss: 2, numTokens: 300, tokensPerSecond: 600 });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const { data } = await get<{ data: RunSummary[] }>('');
    const live = data.find(({ id }) => id === 'live')!;
    assert.deepEqual(
      [live.state, live.step, live.secondsLeft, live.tokensPerSecond],
      ['running', 10, 495, 600],
    );
    const first = await get<Metrics>(named('live', 'metrics'));
    run.record({ kind: 'train', step: 11, loss: 1, numTokens: 300, tokensPerSecond: 600 });
    const more = await get<Metrics>(named('live', `metrics?after=${first.lastStep}`));
    assert.deepEqual(more.points, [
      { step: 11, seconds: 5.5, loss: 1, numTokens: 300, tokensPerSecond: 600 },
    ]);
    run.rewind(4);
    assert.equal((await get<Metrics>(named('live', 'metrics'))).lastStep, 4, 'a run continued from step 4');
  });

  it('give the metrics that were recorded', async () => {
    const { points, evaluations, stride } = await get<Metrics>(named('quickstart/stage2', 'metrics'));
    const recorded = new RunFolder(stage2).metrics();
    const trained = recorded.filter(({ kind }) => kind === 'train');
    assert.deepEqual([stride, points.length], [1, totalSteps]);
    for (const [index, { loss, seconds }] of points.entries()) {
      assert.ok(Math.abs(loss! - Number(trained[index]!.loss)) < 1e-4);
      assert.ok(seconds! > (points[index - 1]?.seconds ?? 0));
    }
    assert.deepEqual(
      evaluations.map(({ step }) => step),
      recorded.filter(({ kind }) => kind === 'evaluate').map(({ step }) => step),
    );
    assert.ok(
      points.at(-1)!.mlmLoss === undefined && points[0]!.mlmLoss! > 0,
      'the masked LM ends at the switch',
    );
  });

  it('thin a long run to means of neighbouring steps, the last always there', async () => {
    const long = new RunFolder(join(folder, 'long'));
    const steps = 5001;
    const text = Array.from({ length: steps }, (_, at) =>
      JSON.stringify({ kind: 'train', step: at + 1, loss: at + 1, numTokens: 10, tokensPerSecond: 100 }),
    );
    writeFileSync(join(long.path, 'metrics.jsonl'), `${text.join('\n')}\n`);
    const metrics = new RunMetrics(join(long.path, 'metrics.jsonl'));
    await metrics.update();
    const { points } = metrics.after(0);
    assert.deepEqual([metrics.stride, points.length, metrics.lastStep], [8, 626, steps]);
    for (const [index, { step, loss, seconds }] of points.entries()) {
      const from = index * 8 + 1;
      const to = Math.min(steps, from + 7);
      assert.deepEqual([step, loss], [to, (from + to) / 2]);
      assert.ok(Math.abs(seconds - to / 10) < 1e-2);
    }
    assert.deepEqual(
      metrics.after(4992).points.map(({ step }) => step),
      [5000, 5001],
    );
  });

  it('give the texts that stage 2 wrote, and none where none were written', async () => {
    const { data } = await get<{ data: SamplesAt[] }>(named('quickstart/stage2', 'samples'));
    assert.deepEqual(data, new RunFolder(stage2).samples());
    assert.equal(data.at(-1)!.step, totalSteps);
    assert.deepEqual(await get(named('quickstart/stage1', 'samples')), { data: [] });
  });

  it('survive damaged files: what cannot be read is left out', async () => {
    const path = join(root, 'damaged');
    mkdirSync(path, { recursive: true });
    const settings = readFileSync(join(stage2, 'settings.json'));
    writeFileSync(join(path, 'settings.json'), settings);
    writeFileSync(
      join(path, 'metrics.jsonl'),
      'no json\n[1]\nnull\n{"kind":"train"}\n{"kind":"train","step":1e99}\n',
    );
    appendFileSync(join(path, 'metrics.jsonl'), `"${'x'.repeat(2 ** 20)}"\n\0\xff\n`);
    appendFileSync(
      join(path, 'metrics.jsonl'),
      '{"kind":"train","step":3,"loss":null,"mlmLoss":2}\n{"kind":"train","st',
    );
    writeFileSync(
      join(path, 'samples.jsonl'),
      '{"step":1,"samples":[{"source":1}]}\n{"step":2,"samples":[]}\n',
    );
    const { points } = await get<Metrics>(named('damaged', 'metrics'));
    assert.deepEqual(points, [{ step: 3, seconds: 0, mlmLoss: 2 }]);
    assert.deepEqual(await get(named('damaged', 'samples')), { data: [{ step: 2, samples: [] }] });
    mkdirSync(join(root, 'other'), { recursive: true });
    writeFileSync(join(root, 'other', 'settings.json'), '{"kind":');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const { data } = await get<{ data: RunSummary[] }>('');
    assert.ok(data.some(({ id }) => id === 'damaged') && !data.some(({ id }) => id === 'other'));
  });

  it('read nothing outside the folder, by whatever name or link', async () => {
    const outside = new RunFolder(join(folder, 'outside'));
    outside.claimSettings({ kind: 'pretrain' });
    outside.record({ kind: 'train', step: 1, secret: 1 });
    symlinkSync(outside.path, join(root, 'link'));
    mkdirSync(join(root, 'inner'), { recursive: true });
    writeFileSync(join(root, 'inner', 'settings.json'), readFileSync(join(stage2, 'settings.json')));
    symlinkSync(join(outside.path, 'metrics.jsonl'), join(root, 'inner', 'metrics.jsonl'));
    for (const [id, status, code] of [
      ['../outside', 403, 'outside_runs'],
      ['quickstart/../../outside', 403, 'outside_runs'],
      ['..\\outside', 403, 'outside_runs'],
      [outside.path, 403, 'outside_runs'],
      ['link', 403, 'outside_runs'],
      ['quickstart', 404, 'run_not_found'],
      ['nowhere', 404, 'run_not_found'],
      ['quickstart/stage2/settings.json', 404, 'run_not_found'],
      ['nul\0', 404, 'run_not_found'],
    ] as const)
      for (const what of ['metrics', 'samples']) {
        const answer = await ask(named(id, what));
        const { error } = (await answer.json()) as { error: { code: string; param: string } };
        assert.deepEqual([answer.status, error.code, error.param], [status, code, 'id'], id);
      }
    assert.deepEqual((await get<Metrics>(named('inner', 'metrics'))).points, []);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const { data } = await get<{ data: RunSummary[] }>('');
    assert.ok(!data.some(({ id }) => id === 'link'));
  });

  it('name the field that is wrong', async () => {
    for (const [query, param] of [
      ['after=-1', 'after'],
      ['after=x', 'after'],
      ['aftr=1', 'aftr'],
    ]) {
      const answer = await ask(named('quickstart/stage2', `metrics?${query}`));
      const { error } = (await answer.json()) as { error: { param: string } };
      assert.deepEqual([answer.status, error.param], [400, param]);
    }
  });
});

it('a folder of runs that is not there has none', async () => {
  const server = await startServer({
    folder: writeTestModel(temporaryFolder()),
    runsFolder: '/nowhere/at/all',
  });
  const answer = await fetch(`${server.url}/v1/runs`);
  assert.deepEqual(await answer.json(), { data: [], truncated: false });
});
