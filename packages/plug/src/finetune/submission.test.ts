// The layouts that the sites describe, by kind of task.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { strFromU8, unzipSync } from 'fflate';
import { ConfigError } from '../errors.js';
import { submissionFile, submissionZip } from './submission.js';
import { builtInTasks, findTask } from './tasks/built-in.js';

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
