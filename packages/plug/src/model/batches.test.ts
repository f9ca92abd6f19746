// What a text's result may depend on: the text itself, and nothing else in the batch.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { type DType, scope } from '@openplug/torch';
import fc from 'fast-check';
import { NativeError, ShapeError } from '../errors.js';
import { inference, packTexts, textBatch } from './index.js';
import {
  assertClose,
  assertSameOutputs,
  modelVariants,
  type Outputs,
  outputsOf,
  randomText,
  smallModel,
  type TextPair,
  textPair,
} from './small-models.test-support.js';

// Matrix products take other paths for other batch sizes, so sums may be rounded in another order: a few ulps,
// grown by the layers. In bf16 one step is 2^-8, and hidden states here reach ±10.
const tolerance = { float64: 1e-12, float32: 2e-5, bfloat16: 0.1 } as const;
const numRuns = 12;

const pairs = fc.array(textPair, { minLength: 2, maxLength: 4 });

function alone(outputs: Outputs, row: number): Outputs {
  return Object.fromEntries(Object.entries(outputs).map(([name, rows]) => [name, [rows[row]]])) as never;
}

for (const variant of modelVariants) {
  for (const dtype of ['float64', 'float32'] as const) {
    describe(`batches, ${JSON.stringify(variant)}, ${dtype}`, () => {
      const model = smallModel(variant, { dtype });
      after(() => model[Symbol.dispose]());
      const run = (batch: readonly TextPair[], visible?: Int32Array, compute: DType = dtype): Outputs =>
        outputsOf(model, batch, compute, visible);

      it('gives each row what it gets alone', () => {
        fc.assert(
          fc.property(pairs, (batch) => {
            const together = run(batch);
            for (const [row, pair] of batch.entries())
              assertSameOutputs(alone(together, row), run([pair]), tolerance[dtype], `row ${row}`);
          }),
          { numRuns },
        );
      });

      it('gives the same bits whatever the mates hold, shapes being equal', () => {
        fc.assert(
          fc.property(pairs, fc.integer(), (batch, seed) => {
            const others = batch.map((pair, row) =>
              row === 0
                ? pair
                : {
                    source: randomText(seed, pair.source.length),
                    types: pair.types.map((type) => 2 - type),
                    target: randomText(seed + 1, pair.target.length),
                  },
            );
            assertSameOutputs(alone(run(batch), 0), alone(run(others), 0), 0, 'row 0');
          }),
          { numRuns },
        );
      });

      it('does not see padding: rows with padding and `visible` equal packed rows', () => {
        fc.assert(
          fc.property(pairs, fc.integer({ min: 0, max: 7 }), fc.integer(), (batch, extra, seed) => {
            const longest = Math.max(...batch.map((pair) => pair.source.length)) + extra;
            const padded = batch.map((pair) => ({
              ...pair,
              source: [...pair.source, ...randomText(seed, longest - pair.source.length)],
              types: [...pair.types, ...new Array<number>(longest - pair.source.length).fill(0)],
            }));
            const got = run(
              padded,
              Int32Array.from(batch, (pair) => pair.source.length),
            );
            const wanted = run(batch);
            for (const name of ['encoded', 'mlm'] as const)
              got[name] = got[name].map((values, row) => values.slice(0, wanted[name][row]!.length));
            assertSameOutputs(got, wanted, tolerance[dtype], 'padded');
          }),
          { numRuns },
        );
      });

      it('gives the same bits whatever stands in the padding', () => {
        const batch = [5, 9].map((length) => ({
          source: randomText(1, length),
          types: new Array<number>(length).fill(0),
          target: randomText(2, 6),
        }));
        const visible = Int32Array.of(3, 9);
        const changed = structuredClone(batch);
        changed[0]!.source[3]! ^= 1;
        changed[0]!.source[4]! ^= 1;
        const [got, wanted] = [run(changed, visible), run(batch, visible)];
        for (const name of ['sentence', 'decoded', 'lm'] as const) assert.deepEqual(got[name], wanted[name]);
        assert.deepEqual(got.encoded[0]!.slice(0, 3 * 16), wanted.encoded[0]!.slice(0, 3 * 16));
        assert.notDeepEqual(got.encoded[0]!.slice(3 * 16), wanted.encoded[0]!.slice(3 * 16));
      });

      it('does not see later target tokens', () => {
        fc.assert(
          fc.property(textPair, fc.nat(), fc.integer(), (pair, at, seed) => {
            const cut = at % pair.target.length;
            const target = [
              ...pair.target.slice(0, cut + 1),
              ...randomText(seed, pair.target.length - cut - 1),
            ];
            const [got, wanted] = [run([{ ...pair, target }]), run([pair])];
            const upToCut = (values: number[]): number[] =>
              values.slice(0, (values.length / target.length) * (cut + 1));
            assert.deepEqual(upToCut(got.decoded[0]!), upToCut(wanted.decoded[0]!));
            assert.deepEqual(upToCut(got.lm[0]!), upToCut(wanted.lm[0]!));
            const prefix = run([{ ...pair, target: pair.target.slice(0, cut + 1) }]);
            assertClose(upToCut(wanted.lm[0]!), prefix.lm[0]!, tolerance[dtype], 'prefix alone');
          }),
          { numRuns },
        );
      });
    });
  }
}

describe('batches in bf16', () => {
  const model = smallModel({}, { dtype: 'float32' });
  after(() => model[Symbol.dispose]());
  it('gives each row what it gets alone, and stays near fp32', () => {
    const batch = [7, 2, 11].map((length) => ({
      source: randomText(3, length),
      types: new Array<number>(length).fill(1),
      target: randomText(4, length),
    }));
    const together = outputsOf(model, batch, 'bfloat16');
    for (const [row, pair] of batch.entries())
      assertSameOutputs(alone(together, row), outputsOf(model, [pair], 'bfloat16'), 0.1, `row ${row}`);
    assertSameOutputs(together, outputsOf(model, batch, 'float32'), 0.3, 'against fp32');
  });
});

describe('results do depend on', () => {
  const pair: TextPair = {
    source: [5, 6, 7, 8],
    types: [0, 0, 1, 1],
    target: [3, 9, 4],
  };
  for (const variant of modelVariants) {
    it(`every input, ${JSON.stringify(variant)}`, () => {
      using model = smallModel(variant);
      const base = outputsOf(model, [pair], 'float64');
      const firstLm = (changes: Partial<TextPair>): number =>
        outputsOf(model, [{ ...pair, ...changes }], 'float64').lm[0]![0]!;
      for (let at = 0; at < 4; at++) {
        const source = pair.source.map((id, index) => (index === at ? id + 1 : id));
        const types = pair.types.map((type, index) => (index === at ? 2 : type));
        assert.ok(Math.abs(firstLm({ source }) - base.lm[0]![0]!) > 1e-6, `source token ${at}`);
        assert.ok(Math.abs(firstLm({ types }) - base.lm[0]![0]!) > 1e-6, `type ${at}`);
      }
      const swapped = outputsOf(model, [{ ...pair, source: [6, 5, 7, 8] }], 'float64');
      assert.ok(Math.abs(swapped.sentence[0]![0]! - base.sentence[0]![0]!) > 1e-6, 'order');
      const target = outputsOf(model, [{ ...pair, target: [2, 9, 4] }], 'float64').lm[0]!;
      assert.ok(Math.abs(target.at(-1)! - base.lm[0]!.at(-1)!) > 1e-6, 'an earlier target token');
    });
  }
});

describe('bad batches', () => {
  const float64 = { computeDType: 'float64' } as const;
  const model = smallModel();
  after(() => model[Symbol.dispose]());
  const encode = (ids: number[], types?: number[]): unknown =>
    model.encode(textBatch(packTexts([ids], types && [types])), float64);

  it('refuses lengths that do not fit, empty rows, texts past the window', () => {
    const texts = packTexts([[1, 2, 3]]);
    assert.throws(() => textBatch({ ...texts, lengths: Int32Array.of(4) }), ShapeError);
    assert.throws(() => textBatch(packTexts([[1, 2], []])), ShapeError);
    assert.throws(() => encode(randomText(1, 25)), /25 tokens.*24 positions/);
  });

  it('refuses ids and types outside their tables', () => {
    assert.throws(() => encode([1, 40]), NativeError);
    assert.throws(() => encode([1, -1]), /has the id -1: ids below 0 stand for prompt vectors/);
    for (const variant of modelVariants) {
      using other = smallModel(variant);
      const source = textBatch(packTexts([[1, 2]]));
      const target = textBatch(packTexts([[1, -1]]));
      const decode = () =>
        scope(() => other.decode(target, other.encode(source, float64), source.layout, float64));
      assert.throws(decode, /has the id -1/);
    }
    assert.throws(() => encode([1, 2], [0, 3]), NativeError);
  });

  it('refuses to decode with an encoder alone', () => {
    using encoder = smallModel({ decHiddenLayers: 0 });
    const source = textBatch(packTexts([[1, 2]]));
    const encoded = encoder.encode(source, inference);
    assert.throws(() => encoder.decode(source, encoded, source.layout, inference), /encoder alone/);
    assert.throws(() => encoder.startDecoding(encoded, source.layout, 3, inference), /encoder alone/);
  });
});
