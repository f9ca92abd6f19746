// Which files are taken for which split: names as published, names as CLUE has them, and names that tell too little.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { describeData } from './data-report.js';
import { readExamples } from './examples.js';
import { springTask, temporaryFolder } from './finetune.test-support.js';
import { findSiteTest, findSplitFiles } from './split-files.js';
import { parseTask } from './task.js';
import { builtInTasks, findTask } from './tasks/built-in.js';
import { authorsFiles, writeOfficialFiles } from './tasks/built-in.test-data.js';

const c3 = findTask('c3');
const ownFiles = (files: unknown) => parseTask({ ...springTask, files }, 'own.json');

function folderWith(...names: string[]): string {
  const folder = temporaryFolder();
  for (const name of names) writeFileSync(join(folder, name), '');
  return folder;
}

/** The names found in a folder of empty files. */
function found(task: Parameters<typeof findSplitFiles>[1], ...names: string[]): string[][] {
  const folder = folderWith(...names);
  return Object.values(findSplitFiles([folder], task)).map((paths) =>
    paths.map((path) => path.slice(folder.length + 1)),
  );
}

function refuses(task: Parameters<typeof findSplitFiles>[1], names: string[], message: RegExp): void {
  assert.throws(
    () => found(task, ...names),
    (error) => error instanceof ConfigError && message.test(error.message),
    names.join(),
  );
}

describe('findSplitFiles', () => {
  it('sorts by name, takes the task’s own names first, and refuses to guess', () => {
    const ocnli = findTask('ocnli');
    const folder = folderWith('train.10k.json', 'train.50k.json', 'dev.json', 'test.json', 'notes.txt');
    mkdirSync(join(folder, 'more'));
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

  it('finds the split word anywhere in a name, in all its forms', () => {
    assert.deepEqual(found(springTask, 'Poems-Training.v2.JSONL', 'my_validation.csv', 'a.TEST.tsv'), [
      ['Poems-Training.v2.JSONL'],
      ['my_validation.csv'],
      ['a.TEST.tsv'],
    ]);
    assert.deepEqual(found(springTask, 'trainset.json', 'valid1.json', 'latest.json', 'a-train-test.csv'), [
      ['trainset.json'],
      ['valid1.json'],
      [],
    ]);
    const both = join(folderWith('a-train-test.csv'), 'a-train-test.csv');
    assert.throws(() => findSplitFiles([both], springTask), /does not tell/);
  });

  it('names both files when either could be meant', () => {
    const several = /several files for train: cmrc2018_train.json, drcd_train.json/;
    for (const task of [springTask, findTask('cmrc2018')])
      refuses(task, ['cmrc2018_train.json', 'drcd_train.json'], several);
    refuses(findTask('cmrc2018'), ['cmrc2018_dev.json', 'dev.json'], /cmrc2018_dev.json, dev.json/);
    refuses(
      c3,
      ['m-train.json', 'c3-m-train.json', 'd-train.json'],
      /for train: c3-m-train.json, m-train.json/,
    );
    refuses(springTask, ['trial.json', 'a-trial.json'], /for dev: a-trial.json, trial.json/);
    assert.deepEqual(found(springTask, 'dev.json', 'trial.json')[1], ['dev.json']);
  });

  it('reads all names of a list, whatever stands in front of them', () => {
    const halves = ['d-train.json', 'm-train.json', 'm-dev.json', 'd-dev.json'];
    const inOrder = [['m-train.json', 'd-train.json'], ['m-dev.json', 'd-dev.json'], []];
    assert.deepEqual(found(c3, ...halves, 'test1.0.json', 'test1.1.json'), inOrder);
    assert.deepEqual(found(c3, 'train-d.json', 'train-m.json')[0], ['train-m.json', 'train-d.json']);
    assert.deepEqual(found(c3, 'train.json', 'dev.json'), [['train.json'], ['dev.json'], []]);
    const extra = ownFiles({ train: ['train.json', 'extra-train.json'], dev: 'held-out-train.json' });
    assert.deepEqual(found(extra, 'train.json', 'extra-train.json', 'held-out-train.json'), [
      ['train.json', 'extra-train.json'],
      ['held-out-train.json'],
      [],
    ]);
  });

  it('says which half is missing, and takes one alone when it is named', () => {
    const missing =
      /has c3-m-train.json for train, but no d-train.json, which c3 reads with it. Add .* or name/;
    refuses(c3, ['c3-m-train.json', 'c3-m-dev.json', 'c3-d-dev.json'], missing);
    refuses(c3, ['m-train.json', 'd-train.json', 'd-dev.json'], /d-dev.json for dev, but no m-dev.json/);
    const folder = folderWith('m-train.json', 'd-train.json', 'c3-m-dev.json');
    const paths = ['m-train.json', 'd-train.json', 'c3-m-dev.json'].map((name) => join(folder, name));
    assert.deepEqual(findSplitFiles(paths.slice(0, 1), c3).train, paths.slice(0, 1));
    assert.deepEqual(findSplitFiles(paths, c3), {
      train: paths.slice(0, 2),
      dev: paths.slice(2),
      test: [],
    });
  });

  it('knows the published folders of CMRC2018, DRCD and CHID', () => {
    const cmrc = ['cmrc2018_dev.json', 'cmrc2018_test_2k.json', 'cmrc2018_train.json', 'cmrc2018_trial.json'];
    const cmrc2018 = findTask('cmrc2018');
    assert.deepEqual(found(cmrc2018, ...cmrc), [['cmrc2018_train.json'], ['cmrc2018_dev.json'], []]);
    assert.deepEqual(found(cmrc2018, ...cmrc.slice(2))[1], ['cmrc2018_trial.json']);
    const folder = folderWith(...cmrc);
    const test = join(folder, 'cmrc2018_test_2k.json');
    assert.deepEqual(findSplitFiles([test], cmrc2018).test, [test]);
    const drcd = ['DRCD_training.json', 'DRCD_dev.json', 'DRCD_test.json'];
    assert.deepEqual(
      found(findTask('drcd'), ...drcd),
      drcd.map((name) => [name]),
    );
    assert.deepEqual(found(findTask('drcd'), 'train.json', 'dev.json', 'test.json')[2], []);
    const chid = findTask('chid');
    const texts = ['chid_train.json', 'dev.json'];
    const answers = ['chid_train_answer.json', 'dev_answer.json'];
    assert.deepEqual(found(chid, ...texts, ...answers), [...texts.map((name) => [name]), []]);
    const answersAlone = join(folderWith('train_answer.json'), 'train_answer.json');
    assert.throws(() => findSplitFiles([answersAlone], chid), /holds answers, which are read along/);
  });
});

describe('findSiteTest', () => {
  const siteTest = (name: string, ...names: string[]): string | undefined => {
    const folder = folderWith(...names);
    return findSiteTest(folder, findTask(name))?.slice(folder.length + 1);
  };

  it('finds the test file of every task among all that its folder has', () => {
    const beside = ['train.json', 'dev.json', 'test_public.json', 'unlabeled.json', 'test1.0.json'];
    for (const { name, submission } of builtInTasks)
      for (const wanted of submission?.test ?? [])
        assert.equal(siteTest(name, ...beside, wanted), wanted, name);
    const renewed = ['test.json', 'test1.0.json', 'test1.1.json'];
    for (const name of ['tnews', 'cluewsc2020', 'c3', 'chid'])
      assert.equal(siteTest(name, ...renewed), 'test1.1.json', name);
    assert.equal(siteTest('ocnli', ...renewed), 'test.json');
    const cmrc = ['cmrc2018_dev.json', 'cmrc2018_test_2k.json', 'cmrc2018_train.json', 'cmrc2018_trial.json'];
    assert.equal(siteTest('cmrc2018', ...cmrc), 'cmrc2018_test_2k.json');
    assert.equal(siteTest('fewclue-tnews', 'tnews_test.json', 'test_public.json'), 'tnews_test.json');
  });

  it('takes no tests with labels for it, and refuses to guess', () => {
    assert.equal(siteTest('c3', 'm-test.json', 'd-test.json', 'c3-m-test.json'), undefined);
    assert.equal(siteTest('fewclue-csl', 'test_public.json'), undefined);
    assert.equal(findSiteTest(join(temporaryFolder(), 'absent'), c3), undefined);
    assert.throws(() => siteTest('csl', 'a_test.json', 'b_test.json'), /for test: a_test.json, b_test.json/);
  });
});

it('places of rows name the file of the list that they stand in', async () => {
  const folder = temporaryFolder();
  writeOfficialFiles(folder, c3, authorsFiles.c3);
  const files = findSplitFiles([folder], c3);
  const train = await readExamples(files.train, c3);
  assert.equal(train.places[0], `${join(folder, 'c3-m-train.json')}, question 1 of 0-0`);
  assert.equal(train.places[3], `${join(folder, 'c3-d-train.json')}, question 1 of 1-0`);
  const none = { examples: [], places: [] };
  const [note] = describeData({ train, dev: none, test: none });
  assert.match(note!, /train: 4 of 6 examples occur a second time: .*c3-m-train.json, question 1 of 0-2; /);
  assert.match(note!, /c3-d-train.json, question 1 of 1-0; /);
  const wrong = JSON.stringify([[['春'], [{ question: '江', choice: ['海', '月'], answer: '潮' }], 'x']]);
  writeFileSync(join(folder, 'c3-d-train.json'), wrong);
  await assert.rejects(
    readExamples(files.train, c3),
    /c3-d-train.json, question 1 of x: the answer "潮" is none/,
  );
});
