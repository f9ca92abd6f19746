// Decoding token by token with a cache gives what decoding everything at once gives.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { type DType, liveTensorCount, noGrad, scope } from '@openplug/torch';
import fc from 'fast-check';
import { ShapeError } from '../errors.js';
import type { DecoderCache, PlugModel } from './index.js';
import {
  assertClose,
  modelVariants,
  outputsOf,
  randomText,
  smallModel,
  sourceBatch,
  type TextPair,
  textPair,
} from './small-models.test-support.js';

// One row of queries in place of several: sums may be rounded in another order. In bf16 one step is 2^-8.
const tolerances: readonly [parameters: DType, compute: DType, tolerance: number][] = [
  ['float64', 'float64', 1e-12],
  ['float32', 'float32', 2e-5],
  ['float32', 'bfloat16', 0.1],
];

/** Batches whose targets all have one length, as rows of a cache advance together. */
const batches = fc
  .tuple(fc.array(textPair, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 9 }), fc.integer())
  .map(([pairs, length, seed]): TextPair[] =>
    pairs.map((pair, row) => ({ ...pair, target: randomText(seed + row, length) })),
  );

function startCache(
  model: PlugModel,
  pairs: readonly TextPair[],
  compute: DType,
  maxLength: number,
): DecoderCache {
  const source = sourceBatch(pairs);
  const options = { computeDType: compute };
  return model.startDecoding(model.encode(source, options), source.layout, maxLength, options);
}

/** Feeds column `at` of the targets and gives the LM logits of each row. */
function step(model: PlugModel, cache: DecoderCache, pairs: readonly TextPair[], at: number): number[][] {
  return scope(() => {
    const ids = pairs.map((pair) => pair.target[at]!);
    const logits = model.nextLogits(ids, cache);
    return pairs.map((_, row) => logits.select(0, row).toArray());
  });
}

/** The logits of each row and position, computed at once: [row][position]. */
function fullLogits(model: PlugModel, pairs: readonly TextPair[], compute: DType): number[][][] {
  return outputsOf(model, pairs, compute).lm.map((values, row) => {
    const width = values.length / pairs[row]!.target.length;
    return pairs[row]!.target.map((_, at) => values.slice(at * width, (at + 1) * width));
  });
}

for (const variant of modelVariants) {
  for (const [parameters, compute, tolerance] of tolerances) {
    it(`equals full decoding at every step, ${JSON.stringify(variant)}, ${parameters}/${compute}`, () => {
      using model = smallModel(variant, { dtype: parameters });
      fc.assert(
        fc.property(batches, fc.integer({ min: 0, max: 5 }), (pairs, spare) => {
          const wanted = fullLogits(model, pairs, compute);
          const length = pairs[0]!.target.length;
          noGrad(() =>
            scope(() => {
              using cache = startCache(model, pairs, compute, length + spare);
              for (let at = 0; at < length; at++) {
                assert.equal(cache.length, at);
                for (const [row, logits] of step(model, cache, pairs, at).entries())
                  assertClose(logits, wanted[row]![at]!, tolerance, `row ${row}, step ${at}`);
              }
            }),
          );
        }),
        { numRuns: 10 },
      );
    });
  }
}

describe('DecoderCache', () => {
  const model = smallModel();
  after(() => model[Symbol.dispose]());
  const quietly = <Result>(body: () => Result): Result => noGrad(() => scope(body));

  it('reorder equals decoding the reordered, repeated or dropped rows', () => {
    fc.assert(
      fc.property(
        batches,
        fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
        fc.nat(),
        (pairs, picks, cut) => {
          const index = picks.map((pick) => pick % pairs.length);
          const length = pairs[0]!.target.length;
          const at = cut % length; // reorder once `at` tokens are held
          const chosen = index.map((row, place) => ({
            ...pairs[row]!,
            target: [...pairs[row]!.target.slice(0, at), ...randomText(place, length - at)],
          }));
          const wanted = fullLogits(model, chosen, 'float64');
          quietly(() => {
            using cache = startCache(model, pairs, 'float64', length);
            for (let before = 0; before < at; before++) step(model, cache, pairs, before);
            cache.reorder(index);
            for (let after = at; after < length; after++)
              for (const [row, logits] of step(model, cache, chosen, after).entries())
                assertClose(logits, wanted[row]![after]!, 1e-12, `row ${row}, step ${after}`);
          });
        },
      ),
      { numRuns: 30 },
    );
  });

  it('runs its body once: steps are repeated natively, also after rows changed places', () => {
    const rows = fc.integer({ min: 1, max: 4 });
    const steps = fc.array(
      fc.record({ picks: fc.array(fc.nat(), { minLength: 4, maxLength: 4 }), seed: fc.nat() }),
      {
        minLength: 2,
        maxLength: 8,
      },
    );
    fc.assert(
      fc.property(rows, steps, (numRows, turns) => {
        let texts = Array.from({ length: numRows }, (_, row): TextPair => {
          const source = randomText(row, 3 + row);
          return { source, types: source.map(() => row % 3), target: [] };
        });
        let calls = 0;
        using counted = smallModel();
        const lmLogits = counted.lmLogits.bind(counted);
        counted.lmLogits = (...given) => {
          calls++;
          return lmLogits(...given);
        };
        quietly(() => {
          using cache = startCache(counted, texts, 'float64', turns.length);
          for (const [at, { picks, seed }] of turns.entries()) {
            const index = texts.map((_, row) => picks[row]! % numRows);
            cache.reorder(index); // at first of an empty cache
            texts = index.map((from, row) => {
              const { target, ...rest } = texts[from]!;
              return { ...rest, target: [...target, ...randomText(seed + row, 1)] };
            });
            for (const [row, logits] of step(counted, cache, texts, at).entries())
              assertClose(
                logits,
                fullLogits(model, texts, 'float64')[row]![at]!,
                1e-12,
                `row ${row}, step ${at}`,
              );
          }
        });
        assert.equal(calls, 1);
      }),
      { numRuns: 15 },
    );
  });

  it('holds the same tensors over any number of steps', () => {
    const pairs = [1, 2].map((seed) => ({
      source: randomText(seed, 5),
      types: [0, 0, 0, 0, 0],
      target: [1],
    }));
    quietly(() => {
      using cache = startCache(model, pairs, 'float64', 24);
      step(model, cache, pairs, 0);
      const held = liveTensorCount();
      for (let at = 1; at < 24; at++) {
        scope(() => cache.reorder([1, 0]));
        step(model, cache, pairs, 0);
        assert.equal(liveTensorCount(), held, `step ${at}`);
      }
    });
  });

  it('does not attend to padding of the source', () => {
    const pair: TextPair = { source: [4, 5, 6], types: [0, 0, 0], target: [1, 2, 3] };
    const padded: TextPair = { ...pair, source: [4, 5, 6, 9, 9], types: [0, 0, 0, 1, 1] };
    const wanted = fullLogits(model, [pair], 'float64')[0]!;
    quietly(() => {
      const options = { computeDType: 'float64' } as const;
      const source = sourceBatch([padded], Int32Array.of(3));
      using cache = model.startDecoding(model.encode(source, options), source.layout, 3, options);
      for (let at = 0; at < 3; at++)
        assertClose(step(model, cache, [padded], at)[0]!, wanted[at]!, 1e-12, `step ${at}`);
    });
  });

  it('leaves the source to its owner: it can start any number of caches', () => {
    const pairs = [
      { source: [1, 2], types: [0, 0], target: [7] },
      { source: [3], types: [0], target: [8] },
    ];
    quietly(() => {
      const options = { computeDType: 'float64' } as const;
      const source = sourceBatch(pairs);
      const encoded = model.encode(source, options);
      const [first, second] = [1, 2].map(() => {
        using cache = model.startDecoding(encoded, source.layout, 1, options);
        cache.reorder([0, 1]);
        return step(model, cache, pairs, 0);
      });
      assert.deepEqual(second, first);
      assert.deepEqual(source.layout.visible.toArray(), [2, 1]);
    });
  });

  it('refuses more tokens than it was made for', () => {
    quietly(() => {
      const pairs = [{ source: [1], types: [0], target: [1, 2, 3] }];
      using cache = startCache(model, pairs, 'float64', 2);
      for (const at of [0, 1]) step(model, cache, pairs, at);
      assert.throws(() => step(model, cache, pairs, 2), ShapeError);
      assert.throws(() => startCache(model, pairs, 'float64', 25), /25 tokens.*24 positions/);
    });
  });

  it('outlives the scope it was filled in, and disposing of it frees everything', () => {
    const pairs = [
      { source: [1, 2], types: [0, 0], target: [1, 2] },
      { source: [3], types: [0], target: [3, 4] },
    ];
    const before = liveTensorCount();
    const cache = quietly(() => startCache(model, pairs, 'float64', 4));
    quietly(() => step(model, cache, pairs, 0));
    quietly(() => cache.reorder([1, 0, 1]));
    quietly(() => step(model, cache, [pairs[1]!, pairs[0]!, pairs[1]!], 1));
    cache[Symbol.dispose]();
    assert.equal(liveTensorCount(), before);
  });
});
