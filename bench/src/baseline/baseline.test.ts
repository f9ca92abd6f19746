import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { spreadOf } from '../harness/harness.js';
import { baselineOf, compareWithBaseline, measureAgainIfSlower } from './baseline.js';

const stateOf = (now: number, before: number[]): string =>
  compareWithBaseline({ row: spreadOf([now]) }, baselineOf({ row: spreadOf(before) }))[0]!.state;

describe('compareWithBaseline', () => {
  it('passes what is within a tenth of the stored ratio, and fails what is below', () => {
    assert.equal(stateOf(1.81, [2, 2, 2]), 'same');
    assert.equal(stateOf(1.79, [2, 2, 2]), 'slower');
    assert.equal(stateOf(2.3, [2, 2, 2]), 'faster');
  });

  it('allows the range that the stored ratio had, where that is more', () => {
    assert.equal(stateOf(1.6, [1.5, 2, 2.1]), 'same');
    assert.equal(stateOf(1.4, [1.5, 2, 2.1]), 'slower');
  });

  it('fails a ratio that is no number', () => {
    assert.equal(
      compareWithBaseline(
        { row: { median: Number.NaN, min: 1, max: 1, spread: 0 } },
        { row: { median: 1, min: 1, max: 1 } },
      )[0]!.state,
      'slower',
    );
  });

  it('tells a row that was not measured from one that is new', () => {
    const stored = baselineOf({ gone: spreadOf([2]) });
    const verdicts = compareWithBaseline({ fresh: spreadOf([3]) }, stored);
    assert.deepEqual(
      verdicts.map(({ name, state }) => [name, state]),
      [
        ['gone', 'missing'],
        ['fresh', 'new'],
      ],
    );
  });
});

describe('measureAgainIfSlower', () => {
  const stored = baselineOf({ a: spreadOf([2]), b: spreadOf([2]) });
  const found = async (...runs: Record<string, number>[]): Promise<[Record<string, number>, number]> => {
    let count = 0;
    const rows = await measureAgainIfSlower(async () => {
      const run = Object.entries(runs[count++]!);
      return Object.fromEntries(run.map(([name, ratio]) => [name, spreadOf([ratio])]));
    }, stored);
    return [Object.fromEntries(Object.entries(rows).map(([name, { median }]) => [name, median])), count];
  };

  it('measures once when nothing is slower, though rows be missing', async () => {
    assert.deepEqual(await found({ a: 1.9 }), [{ a: 1.9 }, 1]);
  });

  it('takes slower rows alone from a second run, which may say the same', async () => {
    assert.deepEqual(await found({ a: 1, b: 2 }, { a: 2, b: 9 }), [{ a: 2, b: 2 }, 2]);
    assert.deepEqual(await found({ a: 1, b: 2 }, { a: 1.1, b: 9 }), [{ a: 1.1, b: 2 }, 2]);
  });

  it('leaves out a slower row that the second run lacks', async () => {
    assert.deepEqual(await found({ a: 1, b: 2 }, { b: 2 }), [{ b: 2 }, 2]);
  });
});
