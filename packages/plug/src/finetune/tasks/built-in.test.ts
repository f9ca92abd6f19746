// Every task that is known by name, from files in its official layout to predictions; and the published rows.
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readExamples, readInputs } from '../examples.js';
import { finetune } from '../finetune.js';
import { temporaryFolder, writeTestModel } from '../finetune.test-support.js';
import { loadTaskModel, predictRows } from '../kinds.js';
import { findSiteTest, findSplitFiles } from '../split-files.js';
import { submissionFile } from '../submission.js';
import { taskSchema } from '../task.js';
import { builtInTasks, findTask } from './built-in.js';
import { authorsFiles, writeOfficialFiles } from './built-in.test-data.js';
import { assertSiteFile, siteFiles } from './site-layouts.test-data.js';

/** DRCD is on no board any more: its authors' scorer takes one object, as that of CMRC2018 does. */
const texts = { form: 'map', isAnswer: (value: unknown) => typeof value === 'string' } as const;

describe('built-in tasks', () => {
  const folder = temporaryFolder();
  const model = writeTestModel(folder, { maxPositionEmbeddings: 96 });
  const cases = builtInTasks.map((task) => ({ name: task.name, task, names: task.files }));
  for (const [name, names] of Object.entries(authorsFiles))
    cases.push({ name: `${name} as its authors name it`, task: findTask(name), names });
  for (const { name, task, names } of cases)
    it(`${name}: reads its layout, trains two steps, predicts, fills its site's file`, async () => {
      assert.deepEqual(taskSchema.parse(task), task, 'a task file could hold it');
      const data = join(folder, name);
      const written = writeOfficialFiles(data, task, names);
      const files = findSplitFiles([data], task);
      assert.deepEqual([files.train, files.dev], [written.train, written.dev]);
      if (task.files) assert.deepEqual(files.test, written.test);
      const train = await readExamples(files.train, task);
      const dev = await readExamples(files.dev, task);
      assert.ok(train.examples.length >= 2);
      const result = await finetune(
        task,
        { train: train.examples, dev: dev.examples },
        {
          model,
          out: join(folder, `run-${name}`),
          tokensPerBatch: 512,
          maxLength: 48,
          maxTargetLength: 8,
          maxSteps: 2,
          threads: 1,
          dtype: 'float32',
        },
      );
      assert.ok(result.finished && result.dev);
      using tuned = loadTaskModel(result.model);
      if (task.submission) assert.equal(findSiteTest(data, task), written.unlabelled);
      const inputs = await readInputs([written.unlabelled], task, { needIds: task.submission !== undefined });
      const predictions = await predictRows(tuned, inputs);
      assert.equal(predictions.length, inputs.length);
      assert.equal(new Set(predictions.map(({ id }) => id)).size, inputs.length, 'rows are told apart');
      for (const { prediction } of predictions) {
        if (task.kind === 'classification') assert.ok(task.labels.includes(String(prediction)));
        else if (task.kind === 'choice') assert.equal(typeof prediction, 'number');
        else assert.equal(typeof prediction, 'string');
      }
      if (!task.submission) return;
      const site = siteFiles[task.submission.site as keyof typeof siteFiles] ?? {
        'drcd_predict.json': texts,
      };
      const file = submissionFile({ task, rows: predictions });
      const ids = inputs.map(({ id }) => id!);
      assertSiteFile(site[file.name]!, file.content, ids);
    });
});

it('predictions for the site are named by the ids of its test file', async () => {
  const folder = temporaryFolder();
  const idsOf = async (name: string): Promise<unknown[]> => {
    const task = findTask(name);
    const { unlabelled } = writeOfficialFiles(join(folder, name), task);
    return (await readInputs([unlabelled], task)).map(({ id }) => id);
  };
  assert.deepEqual(await idsOf('fewclue-cluewsc'), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(await idsOf('chid'), ['#idiom000001#', '#idiom000002#']);
  assert.deepEqual(await idsOf('cmrc2018'), ['Q_0', 'Q_1', 'Q_2']);
  const path = join(folder, 'no-ids.json');
  writeFileSync(path, '{"sentence":"春江"}\n');
  const tnews = findTask('tnews');
  assert.equal((await readInputs([path], tnews))[0]!.id, 0);
  await assert.rejects(
    readInputs([path], tnews, { needIds: true }),
    /column "id" is missing, expected the id/,
  );
});

describe('published rows', () => {
  const shared =
    process.env.OPENPLUG_SHARED ?? fileURLToPath(new URL('../../../../../../shared', import.meta.url));
  const clue = join(shared, 'data', 'clue');
  const counts: Record<string, [train: number, dev: number, test: number]> = {
    tnews: [1185, 1098, 2010],
    iflytek: [3024, 1373, 1749],
    csl: [160, 160, 2838],
    cluewsc: [160, 159, 976],
    chid: [202, 202, 2002],
  };
  for (const [name, sizes] of Object.entries(counts))
    it(`fewclue-${name} fits its declaration`, async (test) => {
      const folder = join(clue, 'fewclue', name);
      if (!existsSync(folder)) return test.skip(`${folder} is absent`);
      const task = findTask(`fewclue-${name}`);
      const files = findSplitFiles([folder], task);
      const read = await Promise.all(
        (['train', 'dev', 'test'] as const).map((split) => readExamples(files[split], task)),
      );
      assert.deepEqual(
        read.map(({ examples }) => examples.length),
        sizes,
      );
    });
});
