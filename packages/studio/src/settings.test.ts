import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  boundsOf,
  DEFAULTS,
  fitSettings,
  fromHash,
  lengthWord,
  STYLES,
  styleWord,
  toHash,
} from './settings.js';

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

test('lengths stay within what the server writes, and the least within the most', () => {
  const settings = { ...DEFAULTS, maxLength: 5000, minLength: 3000 };
  assert.deepEqual(fitSettings(settings, 2048), { ...settings, maxLength: 2048, minLength: 2048 });
  assert.equal(boundsOf('maxLength', settings, 2048).max, 2048);
  assert.equal(boundsOf('minLength', { ...settings, maxLength: 64 }, 2048).max, 64);
  assert.equal(boundsOf('topK', settings, 2048).max, 1000);
});
