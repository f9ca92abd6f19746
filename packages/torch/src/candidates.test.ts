// The most probable tokens and the log-sum-exp of each row, against a plain sort and sum in float64.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { aten } from './aten.js';
import { empty, ones, tensor } from './create.js';
import { NativeError } from './errors.js';
import {
  assertSameForAnyThreadCount,
  floatTypes,
  randomTensor,
  runOnOlderInstructionSets,
} from './kernels.test-support.js';
import * as nn from './nn.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

interface Row {
  logits: number[];
  ids: number[];
  normalizer: number;
}

/** NaN is no candidate; of equal logits the smaller id comes first. */
function plain(logits: readonly number[], numReal: number, count: number): Row {
  const ids = Array.from({ length: numReal }, (_, id) => id)
    .filter((id) => !Number.isNaN(logits[id]))
    .sort((a, b) => logits[b]! - logits[a]! || a - b)
    .slice(0, count);
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return { logits: ids.map((id) => logits[id]!), ids, normalizer: most + Math.log(sum) };
}

function rowsOf(logits: Tensor, numReal: number, count: number): Row[] {
  const found = nn.candidates(logits, numReal, count);
  assert.deepEqual([found.ids.dtype, found.ids.shape], ['int32', [logits.shape[0], count]]);
  const wide = logits.dtype === 'float64' ? 'float64' : 'float32';
  assert.deepEqual([found.logits.dtype, found.logits.shape], [wide, [logits.shape[0], count]]);
  assert.deepEqual([found.normalizers.dtype, found.normalizers.shape], [wide, [logits.shape[0]]]);
  const [values, ids] = [found.logits.toArray(), found.ids.toArray()];
  return found.normalizers.toArray().map((normalizer, row) => ({
    logits: values.slice(row * count, (row + 1) * count),
    ids: ids.slice(row * count, (row + 1) * count),
    normalizer,
  }));
}

function assertAgrees(logits: Tensor, numReal: number, count: number, what: string): void {
  const classes = logits.shape[1]!;
  const values = logits.toArray();
  const tolerance = logits.dtype === 'float64' ? 1e-12 : 1e-6;
  for (const [row, got] of rowsOf(logits, numReal, count).entries()) {
    const wanted = plain(values.slice(row * classes, (row + 1) * classes), numReal, count);
    assert.deepEqual([got.ids, got.logits], [wanted.ids, wanted.logits], `${what}, row ${row}`);
    const error = Math.abs(got.normalizer - wanted.normalizer);
    assert.ok(
      error <= tolerance * (1 + Math.abs(wanted.normalizer)),
      `${what}, row ${row}: normalizer ${got.normalizer}, expected ${wanted.normalizer}`,
    );
  }
}

/** [rows, V, real entries]: blocks of 64 in part, whole, and holding padding only. */
const shapes = [
  [1, 1, 1],
  [3, 63, 60],
  [2, 64, 64],
  [2, 65, 65],
  [4, 500, 129],
  [2, 6400, 6300],
] as const;

describe('candidates', () => {
  for (const dtype of floatTypes)
    it(`are the largest logits in order, with the log-sum-exp of the row, ${dtype}`, () => {
      for (const [rows, classes, numReal] of shapes)
        scope(() => {
          const logits = randomTensor([rows, classes], rows + classes, dtype).mul(4);
          for (const count of [1, 2, 20, numReal - 1, numReal])
            if (count >= 1 && count <= numReal)
              assertAgrees(logits, numReal, count, `[${rows},${classes}], ${count} of ${numReal}`);
        });
    });

  for (const dtype of floatTypes)
    it(`orders ties by id, wherever they stand, ${dtype}`, () => {
      for (const levels of [1, 2, 7])
        scope(() => {
          const values = Array.from({ length: 2 * 1000 }, (_, i) => (i * 7919) % levels);
          const logits = tensor(values, { shape: [2, 1000] }).to(dtype);
          for (const count of [1, 5, 300, 990]) assertAgrees(logits, 990, count, `${levels} levels`);
        });
    });

  it('takes large padding logits for no candidates, but counts them', () => {
    const logits = randomTensor([2, 200], 1);
    logits.narrow(1, 130, 70).fill_(50);
    assertAgrees(logits, 130, 130, 'large padding');
    const masked = aten.constant_pad_nd(randomTensor([2, 130], 2), [0, 70], -Infinity);
    assertAgrees(masked, 130, 10, 'padding without probability');
    assertAgrees(masked, 200, 200, '-Infinity as candidates');
  });

  it('does not overflow', () => {
    for (const dtype of floatTypes) {
      assertAgrees(tensor([3e38, -3e38, 0, 3e38], { shape: [1, 4] }).to(dtype), 4, 4, 'huge');
      assertAgrees(tensor([-1e30, -1e30, -2e30], { shape: [1, 3] }).to(dtype), 3, 2, 'far below zero');
    }
  });

  it('says by the normalizer that logits are no numbers, and never gives NaN as a candidate', () => {
    for (const dtype of floatTypes)
      for (const at of [0, 70, 129]) {
        const good = randomTensor([3, 130], 3, dtype);
        for (const bad of [Number.NaN, Infinity]) {
          const logits = good.clone();
          logits.narrow(0, 1, 1).narrow(1, at, 1).fill_(bad);
          const [first, middle, last] = rowsOf(logits, 130, 5);
          assert.ok(!Number.isFinite(middle!.normalizer), `${bad} at ${at}`);
          const wanted = plain(logits.narrow(0, 1, 1).toArray(), 130, 5);
          assert.deepEqual([middle!.ids, middle!.logits], [wanted.ids, wanted.logits]);
          const untouched = rowsOf(good, 130, 5);
          assert.deepEqual([first, last], [untouched[0], untouched[2]]);
        }
      }
    for (const bad of [Number.NaN, -Infinity]) {
      const [row] = rowsOf(tensor(new Array(70).fill(bad), { shape: [1, 70] }), 70, 3);
      assert.ok(!Number.isFinite(row!.normalizer));
      assert.deepEqual(row!.logits, [-Infinity, -Infinity, -Infinity]);
    }
  });

  it('do not depend on stride, other rows or the number of threads', () => {
    const logits = randomTensor([700, 9], 4, 'float32').transpose(0, 1);
    const whole = rowsOf(logits, 690, 12);
    assert.deepEqual(rowsOf(logits.contiguous(), 690, 12), whole);
    for (const row of [0, 5, 8]) assert.deepEqual(rowsOf(logits.narrow(0, row, 1), 690, 12), [whole[row]]);
    assertSameForAnyThreadCount(() => Object.values(nn.candidates(logits, 690, 12)));
    assert.deepEqual(rowsOf(empty([0, 7]), 7, 2), []);
  });

  it('says what does not fit', () => {
    const refused = (logits: Tensor, numReal: number, count: number, message: RegExp) =>
      assert.throws(
        () => nn.candidates(logits, numReal, count),
        (error: Error) => error instanceof NativeError && message.test(error.message),
      );
    const rule = /expected logits \[B, V\] and 1 <= count <= num_real <= V/;
    refused(ones([2, 4]), 5, 1, rule);
    refused(ones([2, 4]), 3, 4, rule);
    refused(ones([2, 4]), 3, 0, rule);
    refused(ones([4]), 4, 1, rule);
    refused(ones([2, 4], 'int64'), 4, 1, /expected float32, float64 or bfloat16/);
  });
});

runOnOlderInstructionSets(import.meta.url);
