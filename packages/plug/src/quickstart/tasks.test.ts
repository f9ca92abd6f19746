import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keyedRandom } from '../random.js';
import type { Couplet } from './poems.js';
import { makeTasks } from './tasks.js';

/** 300 documents of 1 to 12 couplets; each line is unique and says where it is from. */
function makeCouplets(): Couplet[] {
  const random = keyedRandom(8);
  let line = 0x4e00;
  return Array.from({ length: 300 }, (_, index) => index).flatMap((index) =>
    Array.from({ length: random.integer(1, 12) }, () => {
      const repeats = random.integer(0, 1) === 0 ? 5 : 7;
      const text = (): string => String.fromCodePoint(line++).repeat(repeats);
      return { upper: `${text()}，`, lower: `${text()}。`, document: `document ${index}` };
    }),
  );
}

const couplets = makeCouplets();
const byUpper = new Map(couplets.map((couplet) => [couplet.upper, couplet]));
const byLower = new Map(couplets.map((couplet) => [couplet.lower, couplet]));
const tasks = makeTasks(couplets, 1, 100_000);
const parts = ['train', 'dev', 'test'] as const;

describe('makeTasks', () => {
  it('puts every couplet on one side, and no document on two', () => {
    const documents = parts.map(
      (part) => new Set(tasks.lowerLine[part]!.map(({ source }) => byUpper.get(source)!.document)),
    );
    for (const [first, second] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const)
      assert.deepEqual(
        [...documents[first]!].filter((id) => documents[second]!.has(id)),
        [],
      );
    const all = parts.flatMap((part) => tasks.lowerLine[part]!);
    assert.equal(all.length, couplets.length);
    assert.equal(new Set(all.map(({ source }) => source)).size, couplets.length);
    // Document shares 0.3 and 0.7 · 0.1, within 5 standard errors of 300 draws.
    for (const [part, share] of [
      [2, 0.3],
      [1, 0.07],
    ] as const)
      assert.ok(Math.abs(documents[part]!.size / 300 - share) < 5 * Math.sqrt((share * (1 - share)) / 300));
  });

  it('makes both tasks of the same couplets', () => {
    for (const part of parts) {
      assert.deepEqual(
        tasks.follows[part]!.map(({ text }) => text),
        tasks.lowerLine[part]!.map(({ source }) => source),
      );
      for (const { source, target } of tasks.lowerLine[part]!)
        assert.equal(byUpper.get(source)!.lower, target);
    }
    assert.deepEqual(
      tasks.choices.map(({ source }) => source),
      tasks.lowerLine.test!.map(({ source }) => source),
    );
  });

  it('labels half of the pairs each way; the wrong lines have the length, and are of the same side', () => {
    let [right, total] = [0, 0];
    for (const part of parts) {
      const here = new Set(tasks.lowerLine[part]!.map(({ target }) => target));
      for (const { text, textPair, label } of tasks.follows[part]!) {
        const { lower, document } = byUpper.get(text)!;
        total++;
        if (label === 0) right++;
        assert.equal(textPair === lower, label === 0);
        assert.equal(textPair!.length, lower.length);
        assert.ok(here.has(textPair!), 'a wrong line of another side');
        if (label === 1) assert.notEqual(byLower.get(textPair!)!.document, document);
      }
    }
    assert.ok(Math.abs(right / total - 0.5) < 5 * Math.sqrt(0.25 / total), `${right} of ${total}`);
  });

  it('offers the right line among three others of its length, each place as often', () => {
    const places = [0, 0, 0, 0];
    for (const { source, candidates, answer } of tasks.choices) {
      const { lower, document } = byUpper.get(source)!;
      assert.equal(candidates.length, 4);
      assert.equal(candidates[answer], lower);
      assert.equal(candidates.filter((candidate) => candidate === lower).length, 1);
      places[answer]!++;
      for (const [index, candidate] of candidates.entries()) {
        assert.equal(candidate.length, lower.length);
        if (index !== answer) assert.notEqual(byLower.get(candidate)!.document, document);
      }
    }
    const total = tasks.choices.length;
    for (const count of places)
      assert.ok(Math.abs(count / total - 0.25) < 5 * Math.sqrt(0.1875 / total), `${places}`);
  });

  it('depends on the seed alone, and keeps to the limit', () => {
    assert.deepEqual(makeTasks(couplets, 1, 100_000), tasks);
    assert.notDeepEqual(makeTasks(couplets, 2, 100_000), tasks);
    const few = makeTasks(couplets, 1, 60);
    assert.deepEqual(
      parts.map((part) => few.lowerLine[part]!.length),
      [60, 6, 20],
    );
    // Sides depend on documents, not on the seed: what one seed tests, another never trains on.
    const trained = new Set(makeTasks(couplets, 2, 100_000).lowerLine.train!.map(({ source }) => source));
    assert.ok(tasks.lowerLine.test!.every(({ source }) => !trained.has(source)));
  });
});
