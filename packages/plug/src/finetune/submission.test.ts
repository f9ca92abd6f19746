// The layouts that the sites describe, by kind of task.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { strFromU8, unzipSync } from 'fflate';
import { ConfigError } from '../errors.js';
import { submissionFile, submissionZip } from './submission.js';
import { builtInTasks, findTask } from './tasks/built-in.js';
import { assertSiteFile, siteFiles } from './tasks/site-layouts.test-data.js';

describe('submission files', () => {
  it('are lines of id and label, or a map of ids', () => {
    const of = (name: string, prediction: string | number, id: string | number = 0) =>
      submissionFile({ task: findTask(name), rows: [{ id, prediction }] });
    assert.deepEqual(of('afqmc', '1'), { name: 'afqmc_predict.json', content: '{"id":0,"label":"1"}\n' });
    assert.deepEqual(of('ocnli', 'neutral').name, 'ocnli_50k_predict.json');
    assert.deepEqual(of('c3', 2), { name: 'c311_predict.json', content: '{"id":0,"label":2}\n' });
    assert.deepEqual(of('fewclue-chid', 6), { name: 'chidf_predict.json', content: '{"id":0,"answer":6}\n' });
    assert.deepEqual(JSON.parse(of('chid', 3, '#idiom000378#').content), { '#idiom000378#': 3 });
    assert.deepEqual(JSON.parse(of('cmrc2018', '海上', 'Q_0').content), { Q_0: '海上' });
  });

  it('have a name of their own for every task of the boards', () => {
    const files = builtInTasks.flatMap(({ submission }) => (submission ? [submission.file] : []));
    assert.equal(new Set(files).size, files.length);
    assert.equal(files.length, 20);
    for (const [site, known] of Object.entries(siteFiles)) {
      const own = builtInTasks.flatMap(({ submission }) =>
        submission?.site === site ? [submission.file] : [],
      );
      assert.deepEqual(own.sort(), Object.keys(known).sort());
    }
  });

  it('take every label of their task in the spelling of the site, with the id as the test has it', () => {
    const spelled: Record<string, string[]> = {
      csldcp: ['口腔医学', '中医学/中药学', '核科学与技术', '环境科学与工程', '图书馆、情报与档案管理'],
      eprstmt: ['Positive', 'Negative'],
    };
    for (const [site, known] of Object.entries(siteFiles))
      for (const task of builtInTasks) {
        if (task.submission?.site !== site || task.kind !== 'classification') continue;
        const ids = task.labels.map((_, index) => (index % 2 ? String(index) : index));
        const rows = task.labels.map((prediction, index) => ({ id: ids[index]!, prediction }));
        const { name, content } = submissionFile({ task, rows });
        assertSiteFile(known[name]!, content, ids);
        for (const label of spelled[task.name.replace('fewclue-', '')] ?? [])
          assert.ok(content.includes(`"label":"${label}"`), label);
      }
  });

  it('have a part for each training split of FewCLUE’s second board', () => {
    const task = findTask('fewclue-ocnli');
    const names = task.submission!.parts!.map((part) => submissionFile({ task, rows: [], part }).name);
    assert.deepEqual(
      names,
      ['0', '1', '2', '3', '4', 'all'].map((end) => `ocnlif_predict_${end}.json`),
    );
  });

  it('refuse ids that repeat, labels that do not exist, and tasks without a site', () => {
    const task = findTask('csl');
    const row = { id: 1, prediction: '0' };
    assert.throws(() => submissionFile({ task, rows: [row, row] }), /id 1 occurs twice/);
    assert.throws(() => submissionFile({ task, rows: [{ id: 1, prediction: '2' }] }), /none of the labels/);
    assert.throws(() => submissionFile({ task: findTask('adgen'), rows: [] }), ConfigError);
  });

  it('are zipped to the same bytes each time', () => {
    const all = ['tnews', 'csl'].map((name) => ({
      task: findTask(name),
      rows: [{ id: 0, prediction: name === 'csl' ? '1' : '100' }],
    }));
    const zip = submissionZip(all);
    assert.deepEqual(submissionZip([...all].reverse()), zip);
    const files = unzipSync(zip);
    assert.deepEqual(Object.keys(files), ['csl_predict.json', 'tnews11_predict.json']);
    assert.equal(strFromU8(files['csl_predict.json']!), '{"id":0,"label":"1"}\n');
    assert.throws(() => submissionZip([all[0]!, all[0]!]), /Two models give the file/);
  });
});
