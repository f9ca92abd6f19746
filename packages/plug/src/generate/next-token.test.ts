import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { scope, tensor } from '@openplug/torch';
import fc from 'fast-check';
import { CheckpointError, ConfigError } from '../errors.js';
import { plugConfig } from '../model/index.js';
import { keyedRandom } from '../random.js';
import { logSumExp } from './generate.test-support.js';
import { draw, penalised, TokenRules, Written } from './next-token.js';
import { type GenerationSettings, planGeneration } from './settings.js';

const special = { pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 };
const config = plugConfig({
  vocabSize: 24,
  originalVocabSize: 20,
  hiddenSize: 8,
  numAttentionHeads: 2,
  numHiddenLayers: 1,
  decHiddenLayers: 1,
});

interface Row {
  logits: number[];
  written: number[];
}

/** [id, logit] of each candidate of each row. */
function candidatesOf(rows: readonly Row[], settings: GenerationSettings, wanted: number) {
  const plan = planGeneration(settings, config);
  const rules = new TokenRules(plan, special, wanted, config.originalVocabSize);
  const histories = rows.map(({ written }) => new Written(plan.uniqueNgram, written));
  return scope(() => {
    const logits = tensor(Float64Array.from(rows.flatMap((row) => row.logits)), {
      shape: [rows.length, config.vocabSize],
    });
    return rules.candidates(logits, histories);
  });
}

/** The definition: penalise, forbid, sort, cut. */
function byDefinition(
  { logits, written }: Row,
  settings: GenerationSettings,
  wanted: number,
): [number, number][] {
  const { repetitionPenalty: theta = 1, uniqueNgram: n = 0, minLength = 0 } = settings;
  const repeats = (id: number): boolean => {
    if (n === 0 || written.length < n) return false;
    const next = [...written.slice(written.length - n + 1), id].join();
    return written.some((_, at) => at + n <= written.length && written.slice(at, at + n).join() === next);
  };
  const isAllowed = (id: number, checksRepeats: boolean): boolean =>
    id < config.originalVocabSize &&
    ![special.pad, special.unk, special.cls, special.mask].includes(id) &&
    (id !== special.sep || written.length >= minLength) &&
    !(checksRepeats && repeats(id));
  const ids = logits.map((_, id) => id);
  const kept = ids.filter((id) => isAllowed(id, true));
  return (kept.length > 0 ? kept : ids.filter((id) => isAllowed(id, false)))
    .map((id): [number, number] => [id, written.includes(id) ? penalised(logits[id]!, theta) : logits[id]!])
    .sort((a, b) => b[1] - a[1] || a[0] - b[0])
    .slice(0, wanted);
}

// Distinct logits: of equal ones any may come first. Numbers that the processor may take for zero would be equal.
const logit = fc.double({ min: -9, max: 9, noNaN: true }).filter((value) => Math.abs(value) > 1e-100);
const logits = fc.uniqueArray(logit, { minLength: 24, maxLength: 24 });
const written = fc.array(fc.constantFrom(5, 6, 7, 8, 19), { maxLength: 12 });

describe('candidates for the next token', () => {
  it('are those of the definition, for every row whatever the others are', () => {
    const settings = fc.record({
      repetitionPenalty: fc.constantFrom(1, 1.01, 1.3, 5),
      uniqueNgram: fc.constantFrom(0, 1, 2, 3),
      minLength: fc.constantFrom(0, 4),
    });
    const rows = fc.array(fc.record({ logits, written }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(rows, settings, fc.constantFrom(1, 3, 20), (given, chosen, wanted) => {
        const found = candidatesOf(given, chosen, wanted);
        for (const [row, { count, ids, logits, rawLogits, normalizer }] of found.entries()) {
          const expected = byDefinition(given[row]!, chosen, wanted);
          assert.deepEqual(
            Array.from(ids.subarray(0, count)),
            expected.map(([id]) => id),
          );
          assert.deepEqual(
            Array.from(logits.subarray(0, count)),
            expected.map(([, logit]) => logit),
          );
          assert.deepEqual(
            Array.from(rawLogits.subarray(0, count)),
            expected.map(([id]) => given[row]!.logits[id]),
          );
          assert.ok(Math.abs(normalizer - logSumExp(given[row]!.logits)) < 1e-9);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('repeat an n-gram rather than write nothing, and fail when only special tokens are left', () => {
    const everything = Array.from({ length: 15 }, (_, index) => index + 5);
    const rows = [{ logits: Array.from({ length: 24 }, (_, id) => -id), written: everything }];
    const settings = { uniqueNgram: 1, minLength: 16 };
    assert.deepEqual(Array.from(candidatesOf(rows, settings, 3)[0]!.ids), [5, 6, 7]);
    const rules = new TokenRules(planGeneration({ minLength: 1 }, config), special, 1, 5);
    const nothing = () =>
      scope(() => rules.candidates(tensor([[0, 0, 0, 9, 0]].flat(), { shape: [1, 5] }), [new Written(0)]));
    assert.throws(nothing, ConfigError);
  });

  it('are refused when the logits are not numbers', () => {
    const logits = new Array<number>(24).fill(0);
    logits[7] = Number.NaN;
    assert.throws(() => candidatesOf([{ logits, written: [] }], {}, 3), CheckpointError);
  });
});

describe('the repetition penalty', () => {
  it('divides positive logits by θ and multiplies negative ones, never raising any', () => {
    assert.equal(penalised(3, 1.5), 2);
    assert.equal(penalised(-3, 1.5), -4.5);
    assert.equal(penalised(0, 1.5), 0);
    const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(value, fc.double({ min: 1, max: 10, noNaN: true }), (x, theta) => penalised(x, theta) <= x),
    );
  });
});

describe('draw', () => {
  const sorted = [2, 1.5, 1, 0, -1, -4];
  const numDraws = 20_000;

  /** Frequency of each place over many seeds. */
  function frequencies(settings: { temperature: number; topP: number }, values = sorted): number[] {
    const counts = values.map(() => 0);
    const candidates = { count: values.length, logits: Float64Array.from(values) };
    for (let seed = 0; seed < numDraws; seed++)
      counts[draw(candidates, settings, () => keyedRandom(seed, 3))]! += 1;
    return counts.map((count) => count / numDraws);
  }

  function probabilities(temperature: number): number[] {
    const scaled = sorted.map((logit) => logit / temperature);
    return scaled.map((value) => Math.exp(value - logSumExp(scaled)));
  }

  /** Within four standard errors of each expected frequency. */
  function assertClose(found: readonly number[], expected: readonly number[]): void {
    for (const [place, p] of expected.entries()) {
      const tolerance = 4 * Math.sqrt((p * (1 - p)) / numDraws);
      assert.ok(Math.abs(found[place]! - p) <= tolerance, `place ${place}: ${found[place]} of ${p}`);
    }
  }

  it('follows the softmax at each temperature', () => {
    for (const temperature of [0.5, 0.9, 1, 2])
      assertClose(frequencies({ temperature, topP: 1 }), probabilities(temperature));
  });

  it('cuts to the fewest tokens that reach top-p, and renormalises', () => {
    const all = probabilities(1);
    for (const topP of [0.1, 0.5, 0.8, 0.9, 0.99]) {
      let sum = 0;
      let kept = 0;
      while (sum < topP) sum += all[kept++]!;
      const expected = all.map((p, place) => (place < kept ? p / sum : 0));
      assertClose(frequencies({ temperature: 1, topP }), expected);
    }
  });

  it('takes the best at temperature 0 without a random number, and nearly always at a small one', () => {
    const none = (): never => assert.fail('no random number is needed');
    assert.equal(draw({ count: 2, logits: Float64Array.of(1, 1) }, { temperature: 0, topP: 1 }, none), 0);
    assert.deepEqual(frequencies({ temperature: 1e-9, topP: 1 }), [1, 0, 0, 0, 0, 0]);
  });

  it('stays inside for the largest number that a stream gives', () => {
    const almostOne = () => ({ uniform: () => 1 - 2 ** -32 });
    const candidates = { count: 3, logits: Float64Array.of(0, -40, -800) };
    assert.ok(draw(candidates, { temperature: 1, topP: 1 }, almostOne) <= 2);
    assert.equal(draw(candidates, { temperature: 1, topP: 0.5 }, almostOne), 0);
  });
});
