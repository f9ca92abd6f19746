import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../errors.js';
import { characterBleu, characterRouge, charactersOf, distinct } from './text-metrics.js';

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-12, `${actual} is not ${expected}`);
}

const texts = fc.string({ unit: fc.constantFrom('春', '江', '潮', '𠮷'), maxLength: 8 });
const someTexts = fc.string({ unit: fc.constantFrom('春', '江', '潮', '𠮷'), minLength: 1, maxLength: 8 });

function gramsOf(text: string, n: number): string[] {
  const characters = [...text];
  return characters.flatMap((_, i) =>
    i + n <= characters.length ? [characters.slice(i, i + n).join('')] : [],
  );
}

/** Number of common n-grams, by striking each out of the reference once. */
function commonGrams(candidate: string, reference: string, n: number): number {
  const left = gramsOf(reference, n);
  return gramsOf(candidate, n).filter((gram) => {
    const at = left.indexOf(gram);
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  }).length;
}

function longestCommon(a: string[], b: string[]): number {
  if (a.length === 0 || b.length === 0) return 0;
  if (a[0] === b[0]) return 1 + longestCommon(a.slice(1), b.slice(1));
  return Math.max(longestCommon(a.slice(1), b), longestCommon(a, b.slice(1)));
}

describe('character BLEU-4', () => {
  it('equals a case worked by hand, with the brevity penalty', () => {
    // Candidate of 5, reference of 6: precisions 5/5, 3/4, 2/3, 1/2; penalty exp(1 − 6/5).
    const pairs = [{ candidate: '春江潮水平', references: ['春江潮水連平'] }];
    near(characterBleu(pairs), Math.exp(1 - 6 / 5) * (1 * (3 / 4) * (2 / 3) * (1 / 2)) ** 0.25);
  });

  it('clips repeated n-grams by the reference that has most of them', () => {
    // 1-grams: 花 ×5, at most 3 of them in one reference; 2-grams 2 of 4; 3-grams 1 of 3; no 4-gram: 0.
    assert.equal(characterBleu([{ candidate: '花花花花花', references: ['花花花', '花月'] }]), 0);
    const more = { candidate: '春江潮水', references: ['春江潮水'] };
    const clipped = characterBleu([{ candidate: '花花花花花', references: ['花花花', '花月'] }, more]);
    // Closest lengths are 3 and 4 against 9, so there is no penalty.
    near(clipped, (((3 + 4) / 9) * ((2 + 3) / 7) * ((1 + 2) / 5) * ((0 + 1) / 3)) ** 0.25);
  });

  it('takes the reference length closest to the candidate, the shorter of equals', () => {
    const equallyFar = characterBleu([{ candidate: '春江潮水', references: ['春江潮水連', '江潮水'] }]);
    near(equallyFar, 1);
  });

  it('equals a plain implementation on random corpora', () => {
    const corpus = fc.array(fc.record({ candidate: texts, reference: texts }), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(corpus, (rows) => {
        let product = 1;
        for (let n = 1; n <= 4; n++) {
          let common = 0;
          let total = 0;
          for (const { candidate, reference } of rows) {
            common += commonGrams(candidate, reference, n);
            total += gramsOf(candidate, n).length;
          }
          product *= total === 0 ? 0 : common / total;
        }
        const length = (which: 'candidate' | 'reference') =>
          rows.reduce((sum, row) => sum + [...row[which]].length, 0);
        const penalty = Math.min(1, Math.exp(1 - length('reference') / length('candidate')));
        const expected = product === 0 ? 0 : penalty * product ** 0.25;
        near(
          characterBleu(rows.map((row) => ({ candidate: row.candidate, references: [row.reference] }))),
          expected,
        );
      }),
      { numRuns: 300 },
    );
  });

  it('refuses a candidate without reference', () => {
    assert.throws(() => characterBleu([{ candidate: '春', references: [] }]), ConfigError);
  });
});

describe('character ROUGE', () => {
  it('equals a case worked by hand', () => {
    // 1-grams in common: 春 江 水 of 4 and 5; 2-grams: 春江 of 3 and 4; subsequence 春江水.
    const scores = characterRouge([{ candidate: '春江水花', references: ['春江潮水平'] }]);
    near(scores.rouge1, 6 / 9);
    near(scores.rouge2, 2 / 7);
    near(scores.rougeL, 6 / 9);
  });

  it('averages over pairs, takes the best reference, and gives 0 to an empty candidate', () => {
    const scores = characterRouge([
      { candidate: '', references: ['春江'] },
      { candidate: '春江', references: ['花月', '春江'] },
    ]);
    assert.deepEqual(scores, { rouge1: 0.5, rouge2: 0.5, rougeL: 0.5 });
  });

  it('equals a plain implementation on random texts', () => {
    fc.assert(
      fc.property(someTexts, someTexts, (candidate, reference) => {
        const scores = characterRouge([{ candidate, references: [reference] }]);
        const expected = (common: number, inCandidate: number, inReference: number) => {
          if (common === 0) return 0;
          const precision = common / inCandidate;
          const recall = common / inReference;
          return (2 * precision * recall) / (precision + recall);
        };
        for (const [n, score] of [
          [1, scores.rouge1],
          [2, scores.rouge2],
        ] as const) {
          const sizes = [gramsOf(candidate, n).length, gramsOf(reference, n).length] as const;
          near(score, expected(commonGrams(candidate, reference, n), ...sizes));
        }
        const [a, b] = [[...candidate], [...reference]];
        near(scores.rougeL, expected(longestCommon(a, b), a.length, b.length));
      }),
      { numRuns: 300 },
    );
  });
});

describe('Distinct-n', () => {
  it('counts over all texts together', () => {
    assert.equal(distinct(['春江春', '春江'], 1), 2 / 5);
    assert.equal(distinct(['春江春', '春江'], 2), 2 / 3);
    assert.ok(Number.isNaN(distinct(['春'], 2)));
  });
});

describe('characters', () => {
  it('are code points without white space', () => {
    assert.deepEqual(charactersOf(' 𠮷 a\n\u3000野家'), ['𠮷', 'a', '野', '家']);
  });
});
