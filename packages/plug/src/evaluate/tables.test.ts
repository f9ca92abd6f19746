import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import stringWidth from 'string-width';
import { ConfigError } from '../errors.js';
import { markdownTable, pad, terminalTable } from './tables.js';

const columns = [{ header: '模型' }, { header: 'accuracy', align: 'right' }] as const;
const rows = [
  ['二元線性', '0.5'],
  ['PLUG (no pre-training)', '0.75'],
];

describe('tables', () => {
  it('count two columns for a Chinese character', () => {
    assert.equal(
      terminalTable(columns, rows),
      [
        '模型                    accuracy',
        '──────────────────────  ────────',
        '二元線性                     0.5',
        'PLUG (no pre-training)      0.75',
        '',
      ].join('\n'),
    );
    assert.equal(
      markdownTable(columns, rows),
      [
        '| 模型                   | accuracy |',
        '| ---------------------- | -------: |',
        '| 二元線性               |      0.5 |',
        '| PLUG (no pre-training) |     0.75 |',
        '',
      ].join('\n'),
    );
  });

  it('ignore colour codes when they measure', () => {
    assert.equal(pad('\u001b[1m春\u001b[22m', 4, 'right'), '  \u001b[1m春\u001b[22m');
    assert.equal(pad('春江花', 4), '春江花');
  });

  it('keep a cell with bars or line breaks in its place', () => {
    const table = markdownTable([{ header: 'a' }], [['x|y\nz']]);
    assert.equal(table.split('\n')[2], '| x\\|y<br>z |');
    assert.equal(terminalTable([{ header: 'a' }], [['x \n z']]).split('\n')[2], 'x z');
  });

  it('have lines of equal width whatever the script', () => {
    const text = fc.string({ unit: fc.constantFrom('春', 'a', '𠮷', 'Ａ', '，', '😀', 'é') });
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text)), (body) => {
        const lines = markdownTable(columns, body).trimEnd().split('\n');
        assert.equal(new Set(lines.map((line) => stringWidth(line))).size, 1);
      }),
    );
  });

  it('refuse a row with a missing cell', () => {
    assert.throws(() => terminalTable(columns, [['x']]), ConfigError);
  });
});
