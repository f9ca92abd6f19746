// Reading examples: both file forms, dropped rows, and every way a row can be wrong.
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ConfigError, CorpusError } from '../errors.js';
import { readExamples } from './examples.js';
import { copyTask, springTask, temporaryFolder } from './finetune.test-support.js';
import { findSplitFiles } from './split-files.js';
import { type ClassificationTask, parseTask } from './task.js';
import { findTask } from './tasks/built-in.js';

const ocnli = findTask('ocnli') as ClassificationTask;

function fileWith(content: string, name = 'train.jsonl'): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
}

describe('readExamples', () => {
  it('reads JSON lines and JSON arrays alike, and counts rows that the task drops', async () => {
    const rows = [
      { sentence1: '春江', sentence2: '潮水', label: 'neutral' },
      { sentence1: '一', sentence2: '二', label: '-' },
      { sentence1: '海', sentence2: '平', label: 'entailment' },
    ];
    const wanted = {
      examples: [
        { id: 0, text: '春江', textPair: '潮水', label: 1 },
        { id: 2, text: '海', textPair: '平', label: 0 },
      ],
      dropped: 1,
    };
    const read = async (path: string) => {
      const { places: _, ...rest } = await readExamples([path], ocnli);
      return rest;
    };
    const lines = fileWith(`\uFEFF${rows.map((row) => JSON.stringify(row)).join('\r\n\r\n')}`);
    assert.deepEqual(await read(lines), wanted);
    assert.deepEqual(await read(fileWith(`\n ${JSON.stringify(rows, null, 1)}`, 'train.json')), wanted);
    const task = findTask('tnews') as ClassificationTask;
    const numbers = fileWith('{"sentence":"新闻","label":106}\n');
    assert.deepEqual((await readExamples([numbers], task)).examples, [{ id: 0, text: '新闻', label: 5 }]);
  });

  it('names file, line and column of a row that does not fit', async () => {
    const good = '{"line":"春","season":"spring"}\n';
    const cases: [string, RegExp][] = [
      ['{"line":"春"}', /line 2: column "season" is missing, expected a label. The row has: line\./],
      [
        '{"line":"春","season":"winter"}',
        /line 2: label "winter" is unknown to the task spring. Known: other, spring/,
      ],
      ['{"lines":"春","season":"spring"}', /line 2: column "line" is missing.*Did you mean "lines"\?/],
      ['{"line":"  ","season":"spring"}', /line 2: column "line" is empty. Remove the row/],
      ['{"line":null,"season":"spring"}', /line 2: column "line" is null/],
      ['{"line":"春","season":', /line 2: not JSON/],
      ['7', /line 2: expected a JSON object, got 7/],
    ];
    for (const [row, message] of cases)
      await assert.rejects(
        readExamples([fileWith(good + row)], springTask),
        (error) => error instanceof CorpusError && message.test(error.message),
        row,
      );
    await assert.rejects(
      readExamples([fileWith('[{"from":"春"}]')], copyTask),
      /row 1: column "to" is missing/,
    );
    await assert.rejects(readExamples([fileWith('')], copyTask), /there is no example/);
    await assert.rejects(readExamples([fileWith('[1,')], copyTask), /not JSON/);
    await assert.rejects(readExamples(['/nowhere.json'], copyTask), CorpusError);
    const bad = '{"line":"春"}\n'.repeat(5);
    await assert.rejects(
      readExamples([fileWith(good + bad)], springTask),
      /line 4.*\n5 of 6 rows cannot be used.*: .*line 2; .*line 6\.$/s,
    );
  });

  it('reads the published OCNLI files', async (test) => {
    const shared =
      process.env.OPENPLUG_SHARED ?? fileURLToPath(new URL('../../../../../shared', import.meta.url));
    const folder = join(shared, 'data', 'clue', 'ocnli');
    if (!existsSync(folder)) return test.skip(`${folder} is absent`);
    const files = findSplitFiles([folder], ocnli);
    assert.deepEqual(files.dev, [join(folder, 'dev.json')]);
    const { examples, dropped } = await readExamples(files.dev, ocnli);
    assert.equal(examples.length + dropped, 3000);
    assert.equal(examples.length, 2950);
    assert.deepEqual(examples[0], {
      id: 0,
      text: '身上裹一件工厂发的棉大衣,手插在袖筒里',
      textPair: '身上至少一件衣服',
      label: 0,
    });
  });
});

describe('tasks', () => {
  it('come from a file, or by name with a suggestion', () => {
    assert.deepEqual(findTask(fileWith(JSON.stringify(springTask), 'task.json')), springTask);
    assert.throws(() => findTask('ocnly'), /Did you mean "ocnli"/);
    const wrong = { ...springTask, labels: ['a', 'a'] };
    assert.throws(
      () => parseTask(wrong, 'x.json'),
      (error) => error instanceof ConfigError && /differ/.test(error.message),
    );
    assert.throws(() => parseTask({ ...springTask, colums: {} }, 'x.json'), /colums/);
    assert.throws(
      () => parseTask({ ...springTask, sentenceClasses: ['next'] }, 'x.json'),
      /one class for each label/,
    );
  });
});
