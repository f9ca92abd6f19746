import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readableLines, sharing } from './clean-text.js';

describe('readableLines', () => {
  it('keeps what a reader of the page sees', () => {
    const page = [
      '---\ntitle: 一个不该出现在正文里的标题\n---',
      '# 标题里有许多许多许多汉字',
      '我们使用[这个链接](https://example.org)来说明**一种做法**，它很简单。',
      '<!-- 注释里的文字不是给读者看的文字 -->',
      '```\n代码里的注释也不是正文的一部分\n```',
      '| 表格 | 也不是正文的一部分，不应保留 |',
      'An English paragraph that has 一些中文 in it is left out.',
      '* 列表里的一项也是正文的一部分',
    ].join('\n\n');
    assert.deepEqual(readableLines(page), [
      '我们使用这个链接来说明一种做法，它很简单。',
      '列表里的一项也是正文的一部分',
    ]);
  });
});

describe('sharing', () => {
  const held = '今天的天气真好，我们一起去公园散步吧';
  const isHeld = sharing([held, '短的一行']);

  it('finds sixteen characters in a row, whatever stands around them and however they are spaced', () => {
    assert.equal(isHeld(`他说：${held.slice(1, 17)}。`), true);
    assert.equal(isHeld([...held].join(' ')), true);
    assert.equal(isHeld(held.slice(0, 15)), false);
  });

  it('finds shorter texts where they are the whole line', () => {
    assert.equal(isHeld('短的一行'), true);
    assert.equal(isHeld('这是短的一行'), false);
  });
});
