// From an own task file to predictions, errors, the board and a submission, by the real program.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { unzipSync } from 'fflate';
import { temporaryFolder, writeTestModel } from '../finetune/finetune.test-support.js';
import { findTask } from '../finetune/index.js';
import { writeOfficialFiles } from '../finetune/tasks/built-in.test-data.js';
import { assertSiteFile, siteFiles } from '../finetune/tasks/site-layouts.test-data.js';
import { plug } from './program.test-support.js';

async function json<Result>(...parameters: string[]): Promise<Result> {
  const { status, stdout, stderr } = await plug([...parameters, '--json']);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Result;
}

const short = ['--max-steps', '3', '--threads', '1', '--dtype', 'float32', '--max-length', '24'];

describe('an own task', () => {
  it('goes from CSV to predictions and errors', async () => {
    const folder = temporaryFolder();
    const at = (name: string) => join(folder, name);
    const task = {
      name: 'mood',
      kind: 'classification',
      columns: { text: '{title}，{body}', label: 'mood' },
      labels: ['calm', 'glad'],
      metric: 'accuracy',
    };
    writeFileSync(at('mood.json'), JSON.stringify(task));
    writeFileSync(
      at('train.csv'),
      'title,body,mood\n春江,"潮水,平",calm\n明月,共生,glad\n春江,"潮水,平",calm\n',
    );
    writeFileSync(at('dev.tsv'), 'title\tbody\tmood\n春江\t潮水\tcalm\n明月\t海平\tglad\n明月\t共生\tglad\n');
    const model = writeTestModel(folder, { maxPositionEmbeddings: 48 });
    const data = ['--data', at('train.csv'), at('dev.tsv')];
    const run = await json<{ notes: string[]; trials: unknown[]; dev: { values: number[] } }>(
      ...[
        'finetune',
        at('mood.json'),
        '--model',
        model,
        ...data,
        '--out',
        at('run'),
        '--seeds',
        '2',
        ...short,
      ],
    );
    assert.equal(run.trials.length, 2);
    assert.equal(run.dev.values.length, 2);
    assert.ok(
      run.notes.some((note) => /train: 1 of 3 examples occur a second time: .*train\.csv, line 4/.test(note)),
    );
    assert.ok(
      run.notes.some((note) => /dev: 1 of 3 examples are in train too: .*dev\.tsv, line 4/.test(note)),
    );

    const tuned = at('run/seed-1');
    writeFileSync(at('new.jsonl'), '{"title":"春","body":"江"}\n');
    await json('predict', '--model', tuned, '--data', at('new.jsonl'), '--out', at('out.jsonl'));
    const [row] = readFileSync(at('out.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(row.id, 0);
    assert.equal(row.input.text, '春，江');
    assert.ok(task.labels.includes(row.prediction) && row.probability >= 0.5 && !('gold' in row));
    const browsed = await json<{ wrong: number; written: number }>(
      ...['predict', '--model', tuned, '--data', at('dev.tsv'), '--errors', '--out', at('errors.jsonl')],
    );
    const lines = readFileSync(at('errors.jsonl'), 'utf8').split('\n').filter(Boolean);
    assert.equal(lines.length, browsed.wrong);
    for (const line of lines) assert.notEqual(JSON.parse(line).gold, JSON.parse(line).prediction);
    const scores = await json<{ scores: { accuracy: number; interval: { low: number; high: number } } }>(
      ...['evaluate', '--model', tuned, '--data', at('dev.tsv')],
    );
    assert.equal(scores.scores.accuracy, (3 - browsed.wrong) / 3);
    assert.ok(scores.scores.interval.low <= scores.scores.accuracy);
    const kept = JSON.parse(readFileSync(join(tuned, 'evaluations', 'dev.json'), 'utf8'));
    assert.deepEqual(kept.scores, scores.scores);
    assert.equal(kept.task.name, 'mood');
    assert.deepEqual(
      readFileSync(join(tuned, 'errors', 'dev.jsonl'), 'utf8')
        .split('\n')
        .filter(Boolean),
      lines,
    );

    const refused = await plug([
      'finetune',
      at('mood.json'),
      '--task',
      'tnews',
      ...data,
      '--model',
      model,
      '--out',
      at('x'),
    ]);
    assert.match(refused.stderr, /The task is given twice/);
    const unknown = await plug(['finetune', 'tnew', ...data, '--model', model, '--out', at('x')]);
    assert.match(unknown.stderr, /Did you mean "tnews"/);
  });
});

describe('the board', () => {
  it('shows PLUG’s mean, own runs as a partial board, and makes the site’s files', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder, { maxPositionEmbeddings: 48 });
    const runs: string[] = [];
    for (const name of ['csl', 'tnews', 'chid']) {
      const task = findTask(name);
      writeOfficialFiles(join(folder, 'clue', name), task);
      const out = join(folder, `run-${name}`);
      const data = join(folder, 'clue', name);
      await json('finetune', name, '--model', model, '--data', data, '--out', out, ...short);
      runs.push(out);
    }
    const [csl, tnews, chid] = runs as [string, string, string];
    const published = await plug(['evaluate', '--board']);
    assert.match(published.stdout, /PLUG \(27B\)\s+80\.614\s+77\.441\s+73\.060/);
    const own = await plug(['evaluate', '--board', csl, tnews]);
    assert.match(
      own.stdout,
      /own runs: a partial board, without AFQMC, IFLYTEK, CMNLI, OCNLI_50K, CLUEWSC2020/,
    );
    const foreign = await plug(['evaluate', '--board', chid]);
    assert.equal(foreign.status, 2);
    assert.match(foreign.stderr, /chid, which is none of the board's/);

    mkdirSync(join(folder, 'out'));
    const zip = join(folder, 'out', 'clue.zip');
    await json('evaluate', '--submission', zip, ...runs, '--data', join(folder, 'clue'));
    const files = unzipSync(readFileSync(zip));
    assert.deepEqual(Object.keys(files).sort(), [
      'chid11_predict.json',
      'csl_predict.json',
      'tnews11_predict.json',
    ]);
    const lines = Buffer.from(files['csl_predict.json']!).toString().trim().split('\n');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).id),
      [0, 1, 2, 3, 4, 5, 6, 7],
    );
    for (const line of lines) assert.ok(['0', '1'].includes(JSON.parse(line).label));
    const chosen = JSON.parse(Buffer.from(files['chid11_predict.json']!).toString());
    assert.deepEqual(Object.keys(chosen), ['#idiom000001#', '#idiom000002#']);
    const absent = await plug(['evaluate', '--submission', zip, ...runs, '--data', join(folder, 'out')]);
    assert.match(
      absent.stderr,
      /No test file for csl, tnews, chid: looked in .*for csl the name is test.json/,
    );

    rmSync(join(folder, 'clue', 'tnews'), { recursive: true });
    const partial = await plug(['evaluate', '--submission', zip, ...runs, '--data', join(folder, 'clue')]);
    assert.equal(partial.status, 0, partial.stderr);
    assert.match(
      partial.stdout,
      /A partial board, without\n {2}afqmc_predict.json \(afqmc\): no run of it was named\n {2}tnews11_predict.json \(tnews\): no test/,
    );
    assert.doesNotMatch(partial.stdout, /without.*\b(csl|chid|drcd|fewclue)/s);
    assert.deepEqual(Object.keys(unzipSync(readFileSync(zip))).sort(), [
      'chid11_predict.json',
      'csl_predict.json',
    ]);
  });

  it('makes FewCLUE’s files, one of each task or one for each of its training splits', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder, { maxPositionEmbeddings: 48 });
    const at = (...names: string[]) => join(folder, ...names);
    const tune = async (name: string, out: string): Promise<string> => {
      const task = findTask(name);
      const data = at('fewclue', name.replace('fewclue-', ''));
      writeOfficialFiles(data, task);
      await json('finetune', name, '--model', model, '--data', data, '--out', at(out), ...short);
      return at(out);
    };
    const bustm = await tune('fewclue-bustm', 'bustm-0');
    const chid = await tune('fewclue-chid', 'chid-all');
    const zip = at('few.zip');
    const submit = (...runs: string[]) =>
      plug(['evaluate', '--submission', zip, ...runs, '--data', at('fewclue'), '--json']);
    const single = await submit(bustm, chid);
    assert.equal(single.status, 0, single.stderr);
    const lackedBy = ({ stdout }: { stdout: string }): number =>
      (JSON.parse(stdout) as { submission: { leftOut: unknown[] } }).submission.leftOut.length;
    const files = unzipSync(readFileSync(zip));
    assert.deepEqual(Object.keys(files).sort(), ['bustm_predict.json', 'chidf_predict.json']);
    for (const [name, bytes] of Object.entries(files))
      assertSiteFile(siteFiles.FewCLUE[name]!, Buffer.from(bytes).toString(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.equal(lackedBy(single), 7);

    cpSync(bustm, at('bustm-4'), { recursive: true });
    const several = await submit(bustm, at('bustm-4'), chid);
    assert.equal(several.status, 0, several.stderr);
    assert.deepEqual(Object.keys(unzipSync(readFileSync(zip))).sort(), [
      'bustm_predict_0.json',
      'bustm_predict_4.json',
      'chidf_predict_all.json',
    ]);
    assert.equal(lackedBy(several), 9 * 6 - 3);
    cpSync(bustm, at('other'), { recursive: true });
    assert.match(
      (await submit(bustm, at('other'))).stderr,
      /let the folder end with -0, -1, -2, -3, -4, -all/,
    );
    cpSync(bustm, at('more-0'), { recursive: true });
    assert.match((await submit(bustm, at('more-0'))).stderr, /are both for bustm_predict_0.json/);
  });
});
