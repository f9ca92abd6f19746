import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bestRows, markedParts, readableMatrix, shadeOf, sortedBy } from './results-view.js';

test('rows without a value stay last both ways', () => {
  const rows = [{ v: 2 }, { v: undefined }, { v: 10 }];
  assert.deepEqual(
    sortedBy(rows, ({ v }) => v, 'ascending').map(({ v }) => v),
    [2, 10, undefined],
  );
  assert.deepEqual(
    sortedBy(rows, ({ v }) => v, 'descending').map(({ v }) => v),
    [10, 2, undefined],
  );
  assert.deepEqual(
    sortedBy(['run-10', 'run-9'], (name) => name, 'ascending'),
    ['run-9', 'run-10'],
  );
});

test('the best is of its own group, may be shared, and needs something to be better than', () => {
  const rows = [
    { task: 'a', v: 1 },
    { task: 'a', v: 3 },
    { task: 'a', v: 3 },
    { task: 'b', v: 9 },
    { task: 'c', v: undefined },
  ];
  const best = (better: 'higher' | 'lower') =>
    [
      ...bestRows(
        rows,
        ({ v }) => v,
        better,
        ({ task }) => task,
      ),
    ].map((row) => rows.indexOf(row));
  assert.deepEqual(best('higher'), [1, 2]);
  assert.deepEqual(best('lower'), [0]);
});

test('a large matrix keeps the labels of most errors, and every example is in it', () => {
  const labels = ['a', 'b', 'c', 'd'].map((name) => ({ name }));
  const confusion = [
    [9, 0, 1, 0],
    [0, 5, 0, 0],
    [4, 0, 2, 0],
    [0, 1, 0, 7],
  ];
  assert.deepEqual(readableMatrix(confusion, labels, 4).cells, confusion);
  const { labels: kept, cells } = readableMatrix(confusion, labels, 3);
  assert.deepEqual(
    kept.map((label) => label?.name),
    ['a', 'c', undefined],
  );
  assert.deepEqual(cells, [
    [9, 1, 0],
    [4, 2, 0],
    [0, 0, 13],
  ]);
});

test('shades grow with the share of the row', () => {
  assert.deepEqual(
    [0, 1, 3, 15, 30, 60].map((count) => shadeOf(count, 100)),
    [0, 1, 2, 3, 4, 5],
  );
});

test('parts are marked where they first stand, also where they overlap', () => {
  const shown = (text: string, ...sought: string[]) =>
    markedParts(text, sought)
      .map(({ text: part, mark }) => (mark ? `[${part}]` : part))
      .join('');
  assert.equal(shown('春江潮水連海平', '潮水'), '春江[潮水]連海平');
  assert.equal(shown('春江潮水連海平', '潮水連', '江潮水'), '春[江潮水][連]海平');
  assert.equal(shown('春江', '', '月'), '春江');
});
