import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { CorpusError } from '../errors.js';
import { naturalCompare, newReadReport } from './files.js';
import { readJsonLines } from './json-lines.js';
import { readPlainText } from './plain-text.js';

const folder = mkdtempSync(join(tmpdir(), 'openplug-readers-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function file(content: string | Buffer, extension = '.txt'): string {
  const path = join(folder, `file-${files++}${extension}`);
  writeFileSync(path, content);
  return path;
}

const badLine = Buffer.concat([Buffer.from('好'), Buffer.from([0xff, 0xb4]), Buffer.from('坏\n')]);

describe('naturalCompare', () => {
  it('orders numbers by value and is a total order', () => {
    const names = ['part-10', 'part-2', 'part-02', 'part', 'a1b10', 'a1b9', 'part-100000000000000000000'];
    const sorted = ['a1b9', 'a1b10', 'part', 'part-02', 'part-2', 'part-10', 'part-100000000000000000000'];
    assert.deepEqual(names.sort(naturalCompare), sorted);
    const name = fc
      .array(fc.constantFrom('a', 'b', '0', '1', '2', '10'), { maxLength: 6 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(name, name, name, (a, b, c) => {
        assert.equal(Math.sign(naturalCompare(a, b)), -Math.sign(naturalCompare(b, a)) + 0);
        assert.equal(naturalCompare(a, b) === 0, a === b);
        if (naturalCompare(a, b) < 0 && naturalCompare(b, c) < 0) assert.ok(naturalCompare(a, c) < 0);
      }),
    );
  });
});

describe('readPlainText', () => {
  it('ends documents at blank lines, or at the end of the file', () => {
    const path = file('\ufeff一。二。\r\n三\r\n\r\n \n四。');
    const byBlank = [...readPlainText(path)];
    assert.deepEqual(
      byBlank.map((document) => document.sentences),
      [['一。', '二。', '三'], ['四。']],
    );
    assert.deepEqual(
      byBlank.map((document) => document.id),
      ['file-0.txt#0', 'file-0.txt#1'],
    );
    const byFile = [...readPlainText(path, { boundary: 'file' })];
    assert.deepEqual(
      byFile.map((document) => document.sentences),
      [['一。', '二。', '三', '四。']],
    );
  });

  it('takes the files of a folder in natural order, with names that do not depend on where it is', () => {
    const root = join(folder, 'tree');
    mkdirSync(join(root, 'sub'), { recursive: true });
    for (const name of ['10.txt', '9.txt', 'sub/1.txt', 'other.md', '.hidden.txt']) {
      writeFileSync(join(root, name), name);
    }
    const ids = [...readPlainText(root)].map((document) => document.id);
    assert.deepEqual(ids, ['9.txt#0', '10.txt#0', 'sub/1.txt#0']);
  });

  it('reads lines longer than its buffer, and characters across its border', () => {
    const line = '春江'.repeat(600_000);
    const report = newReadReport();
    const [document] = [...readPlainText(file(`x${line}。\n`), { report })];
    assert.equal(document?.sentences[0], `x${line}。`);
    assert.equal(report.bytes, 1 + 600_000 * 6 + 4);
    assert.equal(report.invalidUtf8Lines, 0);
  });

  it('replaces invalid UTF-8, skips its document, or stops, and counts it', () => {
    const path = file(Buffer.concat([Buffer.from('一\n\n二\n'), badLine, Buffer.from('\n三\n')]));
    const replaced = newReadReport();
    const documents = [...readPlainText(path, { invalidUtf8: 'replace', report: replaced })];
    assert.deepEqual(
      documents.map((document) => document.sentences.join('|')),
      ['一', '二|好\ufffd\ufffd坏', '三'],
    );
    assert.equal(replaced.invalidUtf8Lines, 1);
    assert.deepEqual(replaced.invalidUtf8Places, [`${path}:4`]);
    assert.equal(replaced.documentsSkipped, 0);

    const skipped = newReadReport();
    const kept = [...readPlainText(path, { invalidUtf8: 'skip', report: skipped })];
    assert.deepEqual(
      kept.map((document) => document.sentences.join('|')),
      ['一', '三'],
    );
    assert.deepEqual(
      kept.map((document) => document.id),
      [documents[0]!.id, documents[2]!.id],
    );
    assert.equal(skipped.documentsSkipped, 1);
    assert.equal(skipped.invalidUtf8Lines, 1);

    assert.throws(
      () => [...readPlainText(path)],
      (error) =>
        error instanceof CorpusError && error.message.includes(`${path}:4`) && /iconv/.test(error.message),
    );
  });

  it('names a path that cannot be read, and a corpus without text', () => {
    const missing = join(folder, 'missing.txt');
    const faults: [string, RegExp][] = [
      [missing, /missing\.txt: it does not exist\. Check/],
      [join(file('x'), 'below'), /not a folder/],
      [file(''), /no text in .*\.txt/],
      [file(' \n\n　\n'), /no text in/],
      [file(Buffer.from([0xff, 0xfe, 0x25, 0x66])), /UTF-16.*iconv/],
    ];
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    faults.push([empty, /no \.txt file in .*empty/]);
    for (const [path, message] of faults) {
      assert.throws(
        () => [...readPlainText(path)],
        (error) => error instanceof CorpusError && error.code === 'CORPUS' && message.test(error.message),
        path,
      );
    }
  });

  it('says so when every document was skipped', () => {
    assert.throws(() => [...readPlainText(file(badLine), { invalidUtf8: 'skip' })], /all 1 were skipped/);
  });
});

describe('readJsonLines', () => {
  it('takes the text and the name from the fields', () => {
    const path = file(
      `${[
        { text: '一。二', key: 'a' },
        { text: ['三', '', '四。五'], key: 7 },
      ]
        .map((record) => JSON.stringify(record))
        .join('\n\n')}\n`,
      '.jsonl',
    );
    assert.deepEqual(
      [...readJsonLines(path, { idField: 'key' })].map(({ id, sentences }) => [id, sentences]),
      [
        ['a', ['一。', '二']],
        ['7', ['三', '四。', '五']],
      ],
    );
    const [first, second] = [...readJsonLines(path)];
    assert.match(first!.id, /^file-\d+\.jsonl#1$/);
    assert.match(second!.id, /^file-\d+\.jsonl#3$/);
  });

  it('names the line that cannot be used, or leaves it out and counts it', () => {
    const lines = ['{"text":"好"}', '{"text":"x"', '["text"]', '{"body":"x"}', '{"text":5}', '{"text":" "}'];
    for (const [bad, message] of [
      [1, /:1: not JSON/],
      [2, /:1: expected a JSON object/],
      [3, /:1: field 'text' should be .* missing \(fields: body\)/],
      [4, /:1: field 'text' should be .* got number/],
    ] as const) {
      const path = file(lines[bad]!, '.jsonl');
      assert.throws(
        () => [...readJsonLines(path)],
        (error) =>
          error instanceof CorpusError && error.message.startsWith(path) && message.test(error.message),
      );
    }
    const report = newReadReport();
    const documents = [...readJsonLines(file(lines.join('\n'), '.jsonl'), { invalidJson: 'skip', report })];
    assert.equal(documents.length, 1);
    assert.equal(report.invalidJsonLines, 4);
    assert.equal(report.emptyDocuments, 1);
  });

  it('applies the policy for invalid UTF-8 to the line', () => {
    const content = Buffer.concat([
      Buffer.from('{"text":"好'),
      Buffer.from([0xc0]),
      Buffer.from('"}\n{"text":"二"}'),
    ]);
    const path = file(content, '.jsonl');
    const texts = (invalidUtf8: 'replace' | 'skip'): string[] =>
      [...readJsonLines(path, { invalidUtf8 })].map((document) => document.sentences.join(''));
    assert.deepEqual(texts('replace'), ['好\ufffd', '二']);
    assert.deepEqual(texts('skip'), ['二']);
    assert.throws(() => [...readJsonLines(path)], /:1 holds bytes that are not UTF-8/);
  });
});
