import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Shape, shapes, trainingBatch } from '../shapes.js';
import { BenchmarkError, checkAgreement, pairedRatio, selected, spreadOf, takeTurns } from './harness.js';
import { Side } from './side.js';

describe('spreadOf', () => {
  it('takes the middle of an odd number of values, and the mean of the two middle ones of an even number', () => {
    assert.deepEqual(spreadOf([5, 1, 3]), { median: 3, min: 1, max: 5, spread: 4 / 3 });
    assert.equal(spreadOf([10, 2, 4, 1]).median, 3);
  });

  it('orders by value, not by text', () => {
    assert.equal(spreadOf([9, 10, 100]).median, 10);
  });

  it('refuses no values', () => {
    assert.throws(() => spreadOf([]), BenchmarkError);
  });
});

describe('pairedRatio', () => {
  it('divides round by round, so a machine that slows both sides changes nothing', () => {
    const slowdown = [1, 7, 2, 1, 9];
    const ratio = pairedRatio(
      slowdown.map((factor) => 6 * factor),
      slowdown.map((factor) => 3 * factor),
    );
    assert.deepEqual(ratio, { median: 2, min: 2, max: 2, spread: 0 });
  });

  it('refuses sides of different numbers of rounds', () => {
    assert.throws(() => pairedRatio([1, 2], [1]), /by round/);
  });
});

describe('takeTurns', () => {
  it('alternates the sides and leaves the first turn of each out', async () => {
    const order: string[] = [];
    const counts = { a: 0, b: 100 };
    const side = (name: 'a' | 'b') => async () => {
      order.push(name);
      return counts[name]++;
    };
    const measured = await takeTurns(3, { a: side('a'), b: side('b') });
    assert.equal(order.join(''), 'abababab');
    assert.deepEqual(measured, { a: [1, 2, 3], b: [101, 102, 103] });
  });
});

describe('checkAgreement', () => {
  it('passes sides within the tolerance and tells the largest difference', () => {
    assert.ok(Math.abs(checkAgreement('losses', [10, 5.05], [10, 5], 0.02) - 0.01) < 1e-12);
  });

  it('fails sides that compute other numbers, showing both', () => {
    assert.throws(
      () => checkAgreement('Losses', [10, 5.2], [10, 5], 0.02),
      (error: Error) =>
        error instanceof BenchmarkError && /Losses.*not do the same work.*5\.2.*5\.0/.test(error.message),
    );
  });

  it('fails a different number of numbers, none, and numbers that are none', () => {
    assert.throws(() => checkAgreement('x', [1], [1, 1], 1), BenchmarkError);
    assert.throws(() => checkAgreement('x', [], [], 1), BenchmarkError);
    assert.throws(() => checkAgreement('x', [Number.NaN], [1], 1), BenchmarkError);
    assert.throws(() => checkAgreement('x', [1], [Number.NaN], 1), BenchmarkError);
  });
});

describe('selected', () => {
  it('gives the default, or the one asked for, and names what there is', () => {
    assert.deepEqual(selected('shape', ['a', 'b', 'c'], undefined, ['a', 'b']), ['a', 'b']);
    assert.deepEqual(selected('shape', ['a', 'b', 'c'], 'c', ['a', 'b']), ['c']);
    assert.throws(() => selected('shape', ['a', 'b'], 'd'), /"d".*a, b/);
  });
});

describe('Side', () => {
  it('asks a process that stays alive', async () => {
    const script = `let n = 0; require('readline').createInterface({ input: process.stdin })
      .on('line', (line) => console.log(JSON.stringify({ value: JSON.parse(line).add + n++ })));`;
    await using side = new Side('echo', process.execPath, ['-e', script]);
    assert.equal(await side.number({ do: 'add', add: 5 }, 'value'), 5);
    assert.equal(await side.number({ do: 'add', add: 5 }, 'value'), 6);
  });

  it('reports a process that dies, with what it wrote', async () => {
    const script = 'console.error("out of luck"); process.exit(3)';
    await using side = new Side('The peer', process.execPath, ['-e', script]);
    await assert.rejects(
      side.ask({ do: 'steps' }),
      /The peer gave no answer to "steps".*status 3.*out of luck/s,
    );
  });

  it('reports a program that is not there', async () => {
    await using side = new Side('The peer', '/nowhere/python', []);
    await assert.rejects(side.ask({ do: 'steps' }), BenchmarkError);
  });
});

describe('shapes', () => {
  it('makes batches of full rows, 15 % of the inner source masked, labels where the masks are', () => {
    const shape: Shape = shapes.trial;
    const batch = trainingBatch(shape, 1);
    assert.deepEqual(batch, trainingBatch(shape, 1));
    assert.notDeepEqual(batch, trainingBatch(shape, 2));
    for (const [row, ids] of batch.sourceIds.entries()) {
      assert.equal(ids.length, shape.sourceLength);
      const masked = ids.flatMap((id, position) => (id === 4 ? [position] : []));
      assert.deepEqual(masked, batch.labelPositions[row]);
      assert.equal(masked.length, Math.round(0.15 * (shape.sourceLength - 2)));
      assert.deepEqual(batch.decoderInputIds[row]!.slice(1), batch.targetIds[row]!.slice(0, -1));
    }
  });
});
