// The file forms: the same rows from each, and what is wrong with a file.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { CorpusError } from '../errors.js';
import { temporaryFolder } from './finetune.test-support.js';
import { readRows } from './rows.js';
import { columnValue, marked, textOf } from './template.js';

const folder = temporaryFolder();
function fileWith(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('readRows', () => {
  it('reads CSV, TSV, Parquet and JSON to the same rows', async () => {
    const wanted = [
      { text: '春江，"潮水"', label: '1' },
      { text: '连海\t平', label: '0' },
    ];
    const csv = '\uFEFFtext,label\r\n"春江，""潮水""",1\r\n\r\n"连海\t平",0\r\n';
    const read = async (path: string) => (await readRows(path)).map(({ values }) => ({ ...values }));
    assert.deepEqual(await read(fileWith('a.csv', csv)), wanted);
    const tsv = 'text\tlabel\n春江，"潮水"\t1\n';
    assert.deepEqual(await read(fileWith('a.tsv', tsv)), wanted.slice(0, 1), 'quotes are text in TSV');
    assert.deepEqual(await read(fileWith('a.json', JSON.stringify(wanted))), wanted);
    const columns = [
      { name: 'text', data: wanted.map(({ text }) => text) },
      { name: 'label', data: wanted.map(({ label }) => label) },
    ];
    const parquet = new Uint8Array(parquetWriteBuffer({ columnData: columns }));
    assert.deepEqual(await read(fileWith('a.parquet', parquet)), wanted);
  });

  it('says where a file is damaged', async () => {
    await assert.rejects(readRows(fileWith('b.csv', 'text,label\n春\n')), /b\.csv: .*line/);
    await assert.rejects(readRows(fileWith('b.parquet', 'PAR1')), /b\.parquet: not a Parquet file/);
    await assert.rejects(readRows(fileWith('b.jsonl', Buffer.from([0x7b, 0xff]))), CorpusError);
    const [, second] = await readRows(fileWith('c.csv', 'text\n春\n江\n'));
    assert.match(second!.where, /c\.csv, line 3$/);
  });
});

describe('templates', () => {
  const row = {
    values: {
      a: '春',
      list: ['江', '潮'],
      n: 3,
      target: { span1_text: '𠀀江', span1_index: 1, span2_text: '江', span2_index: 3 },
      'a.b': 'x',
    },
    where: 'here',
  };

  it('make text of columns, lists, numbers and what lies deeper', () => {
    assert.equal(textOf(row, '{a}：{list}/{n}/{target.span2_text}'), '春：江、潮/3/江');
    assert.equal(columnValue(row, 'a.b'), 'x', 'a column’s own name comes first');
    assert.throws(() => textOf(row, '{b}'), /column "b" is missing, expected text. The row has: a, list/);
  });

  it('mark parts by code point, whichever comes first', () => {
    const marks = [
      { text: 'target.span1_text', at: 'target.span1_index', before: '_', after: '_' },
      { text: 'target.span2_text', at: 'target.span2_index', before: '[', after: ']' },
    ];
    assert.equal(marked(row, '春𠀀江江水', marks), '春_𠀀江_[江]水');
    assert.equal(marked(row, '春𠀀江江水', [...marks].reverse()), '春_𠀀江_[江]水');
    assert.throws(() => marked(row, '春江', marks), /has "江" at 1, and not "𠀀江"/);
  });
});
