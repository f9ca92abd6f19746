import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULTS, fromHash, lengthWord, STYLES, styleWord, toHash } from './settings.js';

test('a link carries the settings and the beginning there and back', () => {
  const settings = { ...DEFAULTS, temperature: 1.2, numCandidates: 3, seed: 0 };
  const prompt = '问?a&b=1#“春”\n𠮷';
  assert.deepEqual(fromHash(toHash('write', settings, prompt)), { page: 'write', settings, prompt });
  assert.equal(toHash('write', DEFAULTS, ''), '#write');
});

test('impossible values in a link fall back or are brought inside the bounds', () => {
  const { settings } = fromHash('#write?temperature=abc&topK=-4&numCandidates=99&maxLength=1.6&seed=-1');
  assert.deepEqual(settings, { ...DEFAULTS, topK: 0, numCandidates: 16, maxLength: 2 });
});

test('words stand for numbers, and numbers set by hand have no word', () => {
  assert.equal(lengthWord(DEFAULTS), 'medium');
  assert.equal(styleWord({ ...DEFAULTS, ...STYLES.bold }), 'bold');
  assert.equal(styleWord({ ...DEFAULTS, temperature: 0.77 }), undefined);
});
