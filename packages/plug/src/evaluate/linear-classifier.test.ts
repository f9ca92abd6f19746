import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '../errors.js';
import { keyedRandom } from '../random.js';
import { bigramVocabulary, countFeatures } from './bigram-features.js';
import { minimize } from './lbfgs.js';
import { type ClassifierExample, logisticObjective, trainBigramClassifier } from './linear-classifier.js';
import { accuracy, majorityAccuracy } from './metrics.js';

const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../..');
const shared = process.env.OPENPLUG_SHARED ?? path.join(repository, '..', 'shared');
const tnews = path.join(shared, 'data/clue/fewclue/tnews');

/** Texts of random letters; the class is which of "ab", "ba" occurs, so that only the order tells. */
function orderedPairs(count: number, seed: number): ClassifierExample[] {
  const random = keyedRandom(seed);
  return Array.from({ length: count }, () => {
    const label = random.integer(0, 1);
    const noise = () => Array.from({ length: 6 }, () => 'cdefgh'[random.integer(0, 5)]).join('');
    return { text: noise() + (label === 1 ? 'ab' : 'ba') + noise(), label };
  });
}

describe('bigram features', () => {
  it('count characters and neighbours, by code point', () => {
    const counts = countFeatures({ text: '𠮷𠮷b' });
    assert.deepEqual(Object.fromEntries(counts), { T𠮷: 2, T𠮷𠮷: 1, Tb: 1, T𠮷b: 1 });
  });

  it('of pairs have spaces of their own and the bigram across the boundary', () => {
    const keys = [...countFeatures({ text: 'ab', textPair: 'ba' }).keys()];
    assert.deepEqual(
      keys.sort(),
      ['Aa', 'Aab', 'Ab', 'Ba', 'Bb', 'Bba', 'Ja', 'Jab', 'Jb', 'Jba', 'Jbb'].sort(),
    );
  });

  it('keep the most widespread when limited, and make rows of length 1', () => {
    const vocabulary = bigramVocabulary([{ text: 'ab' }, { text: 'bc' }, { text: 'b' }], 2);
    assert.equal(vocabulary.size, 2);
    const rows = vocabulary.rows([{ text: 'bbb' }, { text: 'xyz' }, { text: 'abab' }]);
    assert.deepEqual([...rows.rowStart], [0, 1, 1, 3]);
    assert.ok(Math.abs(rows.values[1]! ** 2 + rows.values[2]! ** 2 - 1) < 1e-12);
    assert.equal(rows.values[0], 1);
  });
});

describe('the minimiser', () => {
  it('finds the minimum of an ill-conditioned quadratic', () => {
    const scales = [1, 10, 100, 1000];
    const point = Float64Array.of(5, -3, 2, 7);
    const value = minimize(
      (x, gradient) => {
        let sum = 0;
        for (const [i, scale] of scales.entries()) {
          gradient[i] = scale * (x[i]! - i);
          sum += (scale / 2) * (x[i]! - i) ** 2;
        }
        return sum;
      },
      point,
      { gradientTolerance: 1e-9 },
    );
    assert.ok(value < 1e-12);
    for (const [i, x] of point.entries()) assert.ok(Math.abs(x - i) < 1e-6);
  });
});

describe('the bigram classifier', () => {
  it('has a gradient that agrees with finite differences', () => {
    const examples = orderedPairs(12, 1);
    const vocabulary = bigramVocabulary(examples, 40);
    const labels = Uint32Array.from(examples, (_, i) => i % 3);
    const objective = logisticObjective(vocabulary.rows(examples), labels, 3, 2);
    const random = keyedRandom(8);
    const weights = Float64Array.from({ length: (vocabulary.size + 1) * 3 }, () => random.uniform() - 0.5);
    const gradient = new Float64Array(weights.length);
    const unused = new Float64Array(weights.length);
    objective(weights, gradient);
    for (let w = 0; w < weights.length; w++) {
      const at = (shift: number) => {
        const moved = weights.slice();
        moved[w]! += shift;
        return objective(moved, unused);
      };
      const expected = (at(1e-5) - at(-1e-5)) / 2e-5;
      assert.ok(Math.abs(gradient[w]! - expected) < 1e-8, `weight ${w}: ${gradient[w]} against ${expected}`);
    }
  });

  it('learns classes that only the order of characters tells apart', () => {
    const classifier = trainBigramClassifier(orderedPairs(300, 2), { numLabels: 2 });
    assert.ok(classifier.accuracy(orderedPairs(300, 3)) > 0.99);
  });

  it('sees the boundary of a pair', () => {
    const random = keyedRandom(4);
    const make = (count: number): ClassifierExample[] =>
      Array.from({ length: count }, () => {
        const [end, start] = [random.integer(0, 1), random.integer(0, 1)];
        return { text: `cd${'ab'[end]}`, textPair: `${'ab'[start]}cd`, label: end ^ start };
      });
    const classifier = trainBigramClassifier(make(100), { numLabels: 2, dev: make(50) });
    assert.equal(classifier.accuracy(make(100)), 1);
  });

  it('is deterministic, and its probabilities sum to one', () => {
    const [one, two] = [1, 2].map(() => trainBigramClassifier(orderedPairs(60, 5), { numLabels: 2 }));
    for (const example of orderedPairs(20, 6)) {
      const probabilities = one!.probabilities(example);
      assert.deepEqual(probabilities, two!.probabilities(example));
      assert.ok(Math.abs(probabilities[0]! + probabilities[1]! - 1) < 1e-12);
    }
  });

  it('takes the candidate that is best on dev', () => {
    // The stronger penalty leaves the bias of the frequent class in charge.
    const examples = orderedPairs(200, 7);
    const train = [1, 0].flatMap((k) =>
      examples.filter(({ label }) => label === k).slice(0, k === 1 ? 60 : 20),
    );
    const dev = orderedPairs(50, 9);
    const accuracies = [1e-4, 1000].map((c) =>
      trainBigramClassifier(train, { numLabels: 2, dev, candidates: [c] }).accuracy(dev),
    );
    assert.ok(accuracies[1]! > accuracies[0]!);
    const chosen = trainBigramClassifier(train, { numLabels: 2, dev, candidates: [1e-4, 1000] });
    assert.equal(chosen.inverseRegularization, 1000);
    assert.equal(chosen.accuracy(dev), accuracies[1]);
  });

  it('refuses labels outside the range and empty sets', () => {
    assert.throws(() => trainBigramClassifier([], { numLabels: 2 }), ConfigError);
    assert.throws(() => trainBigramClassifier([{ text: '春', label: 2 }], { numLabels: 2 }), ConfigError);
    const dev = [{ text: '春', label: -1 }];
    assert.throws(
      () => trainBigramClassifier([{ text: '春', label: 0 }], { numLabels: 2, dev }),
      ConfigError,
    );
  });

  const skip = existsSync(tnews) ? false : `no TNEWS data at ${tnews} (set OPENPLUG_SHARED)`;
  it('beats the majority class on the few-shot TNEWS news headlines by far', { skip }, () => {
    const labelIds = new Map<string, number>();
    const read = (file: string): ClassifierExample[] => {
      const lines = readFileSync(path.join(tnews, file), 'utf8').trim().split('\n');
      return lines.map((line) => {
        const row = JSON.parse(line) as { sentence: string; label_desc: string };
        if (!labelIds.has(row.label_desc)) labelIds.set(row.label_desc, labelIds.size);
        return { text: row.sentence, label: labelIds.get(row.label_desc)! };
      });
    };
    const train = read('train_few_all.json');
    const dev = read('dev_few_all.json');
    const classifier = trainBigramClassifier(train, { numLabels: labelIds.size, candidates: [3] });
    const labels = dev.map(({ label }) => label);
    const scored = accuracy(dev.map(classifier.predict), labels);
    const majority = majorityAccuracy(
      train.map(({ label }) => label),
      labels,
    );
    assert.ok(scored.accuracy > 0.38, `accuracy ${scored.accuracy}`);
    assert.ok(scored.accuracy > majority.accuracy + 5 * scored.standardError);
  });
});
