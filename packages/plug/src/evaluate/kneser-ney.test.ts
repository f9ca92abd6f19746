import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CorpusError, TokenizerError } from '../errors.js';
import { keyedRandom } from '../random.js';
import { bitsPerToken, modifiedDiscounts, trainKneserNey } from './kneser-ney.js';

const corpora = fc.record({
  vocabSize: fc.integer({ min: 1, max: 9 }),
  order: fc.integer({ min: 1, max: 5 }),
  documents: fc.array(fc.array(fc.nat(1000), { maxLength: 40, size: 'max' }), {
    minLength: 1,
    maxLength: 12,
    size: 'max',
  }),
  histories: fc.array(fc.array(fc.nat(1000), { maxLength: 7 }), { maxLength: 10 }),
});

function wrapIds(lists: number[][], vocabSize: number): number[][] {
  return lists.map((list) => list.map((id) => id % vocabSize));
}

/** The definition written down directly, with text keys and no sharing of code with the model. */
function bruteForce(documents: number[][], order: number, vocabSize: number) {
  const raw: Map<string, number>[] = [];
  const before: Map<string, Set<string>>[] = [];
  for (let n = 1; n <= order; n++) {
    const counts = new Map<string, number>();
    const predecessors = new Map<string, Set<string>>();
    for (const document of documents) {
      const padded = ['<', ...document.map(String)];
      for (let start = 0; start + n <= padded.length; start++) {
        const gram = padded.slice(start, start + n).join(' ');
        if (gram === '<') continue;
        counts.set(gram, (counts.get(gram) ?? 0) + 1);
        if (start > 0) {
          if (!predecessors.has(gram)) predecessors.set(gram, new Set());
          predecessors.get(gram)!.add(padded[start - 1]!);
        }
      }
    }
    raw.push(counts);
    before.push(predecessors);
  }
  const count = (gram: string[]) => {
    const key = gram.join(' ');
    const n = gram.length;
    if (n === order || gram[0] === '<') return raw[n - 1]!.get(key) ?? 0;
    return before[n - 1]!.get(key)?.size ?? 0;
  };
  const discounts = raw.map((grams) => {
    const tally = [0, 0, 0, 0, 0];
    for (const key of grams.keys()) {
      const c = count(key.split(' '));
      if (c <= 4) tally[c]!++;
    }
    return modifiedDiscounts(tally[1]!, tally[2]!, tally[3]!, tally[4]!);
  });
  const probability = (history: string[], word: number): number => {
    const lower = () => (history.length === 0 ? 1 / vocabSize : probability(history.slice(1), word));
    const following = Array.from({ length: vocabSize }, (_, v) => count([...history, String(v)]));
    const total = following.reduce((a, b) => a + b, 0);
    if (total === 0) return lower();
    const d = discounts[history.length]!;
    const discountOf = (c: number) => (c === 0 ? 0 : c === 1 ? d[0] : c === 2 ? d[1] : d[2]);
    const gamma = following.reduce((sum, c) => sum + discountOf(c), 0) / total;
    return (following[word]! - discountOf(following[word]!)) / total + gamma * lower();
  };
  return (history: number[], word: number) =>
    Math.log(probability(order === 1 ? [] : ['<', ...history.map(String)].slice(-(order - 1)), word));
}

describe('modified Kneser–Ney discounts', () => {
  it('follow equation 26 on a case worked by hand', () => {
    // Y = 10 / (10 + 2·4) = 5/9; D1 = 1 − 2·5/9·4/10; D2 = 2 − 3·5/9·2/4; D3+ = 3 − 4·5/9·1/2.
    const [one, two, three] = modifiedDiscounts(10, 4, 2, 1);
    assert.ok(Math.abs(one - 5 / 9) < 1e-12);
    assert.ok(Math.abs(two - 7 / 6) < 1e-12);
    assert.ok(Math.abs(three - 17 / 9) < 1e-12);
  });

  it('fall back to fixed values when counts of counts are missing or give an impossible discount', () => {
    assert.deepEqual(modifiedDiscounts(0, 0, 0, 0), [0.5, 1, 1.5]);
    assert.deepEqual(modifiedDiscounts(5, 3, 2, 0), [0.5, 1, 1.5]);
    assert.deepEqual(modifiedDiscounts(10, 1, 10, 1), [0.5, 1, 1.5]); // D2 would be negative
  });
});

describe('the Kneser–Ney model', () => {
  it('gives the probabilities worked out by hand for a bigram model', () => {
    // Documents "0 1" and "0 0 1" over 3 ids; fixed discounts 0.5, 1, 1.5 (n4 = 0).
    // Bigrams: <0 ×2, 01 ×2, 00 ×1. Unigram counts are predecessors: 0 after {<, 0} = 2, 1 after {0} = 1.
    const model = trainKneserNey(
      [
        [0, 1],
        [0, 0, 1],
      ],
      { order: 2, vocabSize: 3 },
    );
    const unigramBackoff = (1 + 0.5) / 3;
    const p0 = (2 - 1) / 3 + unigramBackoff / 3;
    const p1 = (1 - 0.5) / 3 + unigramBackoff / 3;
    const p2 = unigramBackoff / 3;
    const cases: [number[], number, number][] = [
      [[], 0, (2 - 1) / 2 + (1 / 2) * p0],
      [[], 2, (1 / 2) * p2],
      [[0], 1, (2 - 1) / 3 + ((1 + 0.5) / 3) * p1],
      [[0], 0, (1 - 0.5) / 3 + ((1 + 0.5) / 3) * p0],
      [[1], 2, p2], // nothing was seen after 1
    ];
    for (const [history, token, expected] of cases) {
      assert.ok(Math.abs(Math.exp(model.logProbability(history, token)) - expected) < 1e-12);
    }
    assert.deepEqual(model.numNgrams, [2, 3]);
  });

  it('equals the definition on random corpora, for seen and unseen histories', () => {
    let withRegularDiscounts = 0;
    fc.assert(
      fc.property(corpora, ({ vocabSize, order, documents, histories }) => {
        const texts = wrapIds(documents, vocabSize);
        fc.pre(texts.some((text) => text.length > 0));
        const model = trainKneserNey(texts, { order, vocabSize });
        withRegularDiscounts += model.discounts.some(([one]) => one !== 0.5) ? 1 : 0;
        const expected = bruteForce(texts, order, vocabSize);
        for (const history of [...wrapIds(histories, vocabSize), ...texts]) {
          for (let token = 0; token < vocabSize; token++) {
            const error = Math.abs(model.logProbability(history, token) - expected(history, token));
            assert.ok(error < 1e-9, `history ${history} token ${token}: off by ${error}`);
          }
        }
      }),
      { numRuns: 150, seed: 5 },
    );
    assert.ok(withRegularDiscounts > 30, `only ${withRegularDiscounts} corpora had regular discounts`);
  });

  it('sums to one over the vocabulary and leaves no id without probability', () => {
    const random = keyedRandom(11);
    const vocabSize = 300;
    // Products of uniforms make frequent and rare ids, so that regular discounts are in use at each order.
    const draw = () => Math.floor(random.uniform() * random.uniform() * random.uniform() * vocabSize);
    const documents = Array.from({ length: 400 }, () => Array.from({ length: random.integer(0, 60) }, draw));
    const model = trainKneserNey(documents, { vocabSize });
    assert.notDeepEqual(model.discounts[1], [0.5, 1, 1.5]);
    for (let trial = 0; trial < 300; trial++) {
      const seen = documents[trial]!.slice(0, random.integer(0, 6));
      const unseen = Array.from({ length: random.integer(0, 6) }, () => random.integer(0, vocabSize - 1));
      for (const history of [seen, unseen, [...unseen, ...seen]]) {
        let sum = 0;
        for (let token = 0; token < vocabSize; token++) {
          const probability = Math.exp(model.logProbability(history, token));
          assert.ok(probability > 0);
          sum += probability;
        }
        assert.ok(Math.abs(sum - 1) < 1e-9, `the sum is ${sum}`);
      }
    }
  });

  it('approaches the entropy of a source it can represent', () => {
    // A chain where each id is followed by one of two ids with probabilities 3/4 and 1/4.
    const random = keyedRandom(3);
    const walk = (length: number) => {
      const ids = [0];
      while (ids.length < length) ids.push((ids.at(-1)! * 2 + (random.uniform() < 0.25 ? 1 : 0)) % 16);
      return ids;
    };
    const model = trainKneserNey([walk(40_000)], { order: 3, vocabSize: 16 });
    const entropy = -(0.75 * Math.log2(0.75) + 0.25 * Math.log2(0.25));
    const bits = bitsPerToken(model, [{ context: [0], target: walk(20_001).slice(1) }]);
    assert.ok(bits > entropy - 0.03 && bits < entropy + 0.03, `${bits} against ${entropy}`);
  });

  it('conditions each target id on the context and the target ids before it', () => {
    const model = trainKneserNey([[0, 1, 2, 3, 0, 1, 2, 0]], { order: 4, vocabSize: 4 });
    const nats =
      model.logProbability([0, 1], 2) +
      model.logProbability([0, 1, 2], 3) +
      model.logProbability([2, 3], 1, 0);
    const sequences = [
      { context: [0, 1], target: Uint16Array.of(2, 3) },
      { context: [], target: [1] },
    ];
    assert.ok(Math.abs(bitsPerToken(model, sequences) + nats / Math.LN2 / 3) < 1e-12);
    assert.ok(Number.isNaN(bitsPerToken(model, [])));
  });

  it('works with more ids than 16 bits hold', () => {
    const small = trainKneserNey([[1, 2, 1, 3]], { order: 3, vocabSize: 70_000 });
    const large = trainKneserNey([[1, 2, 1, 69_999]], { order: 3, vocabSize: 70_000 });
    assert.equal(small.logProbability([2, 1], 3), large.logProbability([2, 1], 69_999));
  });

  it('refuses an empty corpus and ids outside the vocabulary', () => {
    assert.throws(() => trainKneserNey([[], []], { vocabSize: 4 }), CorpusError);
    assert.throws(() => trainKneserNey([[0, 4]], { vocabSize: 4 }), TokenizerError);
    assert.throws(() => trainKneserNey([[0, -1]], { vocabSize: 4 }), TokenizerError);
    const model = trainKneserNey([[0, 1]], { vocabSize: 4 });
    assert.throws(() => model.logProbability([4], 0), TokenizerError);
    assert.throws(() => model.logProbability([0], 4), TokenizerError);
  });
});
