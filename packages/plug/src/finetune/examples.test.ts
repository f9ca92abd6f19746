// Reading examples: both file forms, dropped rows, and every way a row can be wrong.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ConfigError, CorpusError } from '../errors.js';
import { findSplitFiles, readExamples } from './examples.js';
import { copyTask, springTask, temporaryFolder } from './finetune.test-support.js';
import { type ClassificationTask, findTask, parseTask } from './task.js';

const ocnli = findTask('ocnli') as ClassificationTask;

function fileWith(content: string, name = 'train.jsonl'): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
}

describe('readExamples', () => {
  it('reads JSON lines and JSON arrays alike, and counts rows that the task drops', () => {
    const rows = [
      { sentence1: '春江', sentence2: '潮水', label: 'neutral' },
      { sentence1: '一', sentence2: '二', label: '-' },
      { sentence1: '海', sentence2: '平', label: 'entailment' },
    ];
    const wanted = {
      examples: [
        { text: '春江', textPair: '潮水', label: 1 },
        { text: '海', textPair: '平', label: 0 },
      ],
      dropped: 1,
    };
    const lines = fileWith(`\uFEFF${rows.map((row) => JSON.stringify(row)).join('\r\n\r\n')}`);
    assert.deepEqual(readExamples([lines], ocnli), wanted);
    assert.deepEqual(
      readExamples([fileWith(`\n ${JSON.stringify(rows, null, 1)}`, 'train.json')], ocnli),
      wanted,
    );
    const task = findTask('tnews') as ClassificationTask;
    const numbers = fileWith('{"sentence":"新闻","label":106}\n');
    assert.deepEqual(readExamples([numbers], task).examples, [{ text: '新闻', label: 5 }]);
  });

  it('names file, line and column of a row that does not fit', () => {
    const good = '{"line":"春","season":"spring"}\n';
    const cases: [string, RegExp][] = [
      ['{"line":"春"}', /line 2: column "season" is missing, expected text. The row has: line\./],
      [
        '{"line":"春","season":"winter"}',
        /line 2: label "winter" is unknown to the task spring. Known: other, spring/,
      ],
      ['{"line":"  ","season":"spring"}', /line 2: column "line" is empty/],
      ['{"line":null,"season":"spring"}', /line 2: column "line" is null/],
      ['{"line":"春","season":', /line 2: not JSON/],
      ['7', /line 2: expected a JSON object, got 7/],
    ];
    for (const [row, message] of cases)
      assert.throws(
        () => readExamples([fileWith(good + row)], springTask),
        (error) => error instanceof CorpusError && message.test(error.message),
        row,
      );
    assert.throws(
      () => readExamples([fileWith('[{"from":"春"}]')], copyTask),
      /row 1: column "to" is missing/,
    );
    assert.throws(() => readExamples([fileWith('')], copyTask), /there is no example/);
    assert.throws(() => readExamples([fileWith('[1,')], copyTask), /not JSON/);
    assert.throws(() => readExamples(['/nowhere.json'], copyTask), CorpusError);
  });

  it('reads the published OCNLI files', (test) => {
    const shared =
      process.env.OPENPLUG_SHARED ?? fileURLToPath(new URL('../../../../../shared', import.meta.url));
    const folder = join(shared, 'data', 'clue', 'ocnli');
    if (!existsSync(folder)) return test.skip(`${folder} is absent`);
    const files = findSplitFiles([folder], ocnli);
    assert.deepEqual(files.dev, [join(folder, 'dev.json')]);
    const { examples, dropped } = readExamples(files.dev, ocnli);
    assert.equal(examples.length + dropped, 3000);
    assert.equal(examples.length, 2950);
    assert.deepEqual(examples[0], {
      text: '身上裹一件工厂发的棉大衣,手插在袖筒里',
      textPair: '身上至少一件衣服',
      label: 0,
    });
  });
});

describe('findSplitFiles', () => {
  it('sorts by name, takes the task’s own names first, and refuses to guess', () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'more'));
    for (const name of ['train.10k.json', 'train.50k.json', 'dev.json', 'test.json', 'notes.txt'])
      writeFileSync(join(folder, name), '');
    const at = (name: string) => join(folder, name);
    assert.deepEqual(findSplitFiles([folder], ocnli), {
      train: [at('train.50k.json')],
      dev: [at('dev.json')],
      test: [],
    });
    assert.throws(
      () => findSplitFiles([folder], springTask),
      /several files for train: train.10k.json, train.50k.json/,
    );
    const named = findSplitFiles([at('train.10k.json'), at('dev.json')], springTask);
    assert.deepEqual(named, { train: [at('train.10k.json')], dev: [at('dev.json')], test: [] });
    assert.throws(() => findSplitFiles([at('notes.txt')], springTask), /does not tell the split/);
    assert.throws(() => findSplitFiles([join(folder, 'more')], springTask), /no file train/);
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
