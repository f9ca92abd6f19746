// The profile of operators: what is in it, what its sums mean, and that it ends.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { backward } from './autograd.js';
import { ones } from './create.js';
import { NativeError } from './errors.js';
import { chromeTrace, operatorTimes, type ProfileEvent, profiled } from './profile.js';

const event = (name: string, startUs: number, durationUs: number, thread = 1, shapes = ''): ProfileEvent => ({
  name,
  shapes,
  startUs,
  durationUs,
  thread,
});

describe('profiled', () => {
  it('holds forward and backward operators with shapes, times and thread, and gives the result', async () => {
    const [x, w] = [ones([6, 4]), ones([4, 5])];
    w.requiresGrad = true;
    const before = performance.now();
    const { result, events } = await profiled(async () => {
      const sum = x.matmul(w).gelu().sum();
      await null;
      backward(sum);
      return 'done';
    });
    const tookUs = (performance.now() - before) * 1000;
    assert.equal(result, 'done');
    const named = (name: string) => events.filter((one) => one.name === name);
    assert.ok(named('aten::mm').some(({ shapes }) => shapes === '[6,4] [4,5]'));
    assert.ok(named('aten::gelu').some(({ shapes }) => shapes === '[6,5]'));
    assert.ok(named('aten::gelu_backward').length === 1);
    assert.ok(events.some(({ name }) => name.includes('MmBackward')));
    for (const { durationUs, thread } of events) {
      assert.ok(durationUs >= 0 && durationUs <= tookUs);
      assert.ok(thread > 0);
    }
    const starts = events.map(({ startUs }) => startUs);
    assert.ok(Math.max(...starts) - Math.min(...starts) <= tookUs);
    // An operator lies inside the one that called it.
    const [matmul, product] = [named('aten::matmul')[0]!, named('aten::mm')[0]!];
    assert.ok(product.startUs >= matmul.startUs);
    assert.ok(product.startUs + product.durationUs <= matmul.startUs + matmul.durationUs + 1e-3);
  });

  it('ends with its body, also when that throws', async () => {
    const error = new Error('mine');
    const failing = [
      () => {
        ones([2]);
        throw error;
      },
      async () => {
        ones([2]);
        await null;
        throw error;
      },
    ];
    for (const body of failing) await assert.rejects(profiled(body), (thrown) => thrown === error);
    ones([3]); // belongs to no profile
    const { events } = await profiled(() => undefined);
    assert.deepEqual(events, []);
  });

  it('is one at a time', async () => {
    const { events } = await profiled(async () => {
      await assert.rejects(
        profiled(() => undefined),
        (thrown) => thrown instanceof NativeError && /being taken already/.test(thrown.message),
      );
      ones([2]);
    });
    assert.ok(events.length > 0); // the outer one went on
  });
});

describe('operatorTimes', () => {
  it('takes what an operator called from its own time, by thread', () => {
    const events = [
      event('inner', 12, 3),
      event('inner', 16, 2, 1, '[2]'),
      event('middle', 11, 8),
      event('outer', 10, 20),
      event('inner', 12, 100, 2), // another thread: inside nothing
      event('outer', 30, 5), // begins as the first ends
    ];
    const times = operatorTimes(events).map(({ name, shapes, count, selfUs }) => [
      name,
      shapes,
      count,
      selfUs,
    ]);
    assert.deepEqual(times, [
      ['inner', '', 2, 103],
      ['outer', '', 2, 17],
      ['middle', '', 1, 3],
      ['inner', '[2]', 1, 2],
    ]);
    assert.deepEqual(operatorTimes([]), []);
  });

  it('sums to the time of the outermost operators', async () => {
    const x = ones([40, 40]);
    const { events } = await profiled(() => {
      for (let i = 0; i < 20; i++) x.matmul(x).softmax(-1).dispose();
    });
    const times = operatorTimes(events);
    const total = times.reduce((sum, { selfUs }) => sum + selfUs, 0);
    const inside = (a: ProfileEvent, b: ProfileEvent) =>
      a !== b &&
      a.startUs >= b.startUs &&
      a.startUs + a.durationUs <= b.startUs + b.durationUs &&
      a.thread === b.thread;
    const outermost = events.filter((one) => !events.some((other) => inside(one, other)));
    const wanted = outermost.reduce((sum, { durationUs }) => sum + durationUs, 0);
    assert.ok(Math.abs(total - wanted) <= 1e-6 * wanted, `${total} µs, not ${wanted}`);
    assert.equal(
      times.reduce((sum, { count }) => sum + count, 0),
      events.length,
    );
    assert.ok(times.every(({ selfUs }) => selfUs >= -1e-3));
  });
});

describe('chromeTrace', () => {
  it('is JSON with complete events, from time zero', () => {
    const trace = JSON.parse(chromeTrace([event('b', 1005, 2.5, 7, '[3]'), event('a', 1000, 10)]));
    assert.deepEqual(trace.traceEvents, [
      { name: 'b', ph: 'X', ts: 5, dur: 2.5, pid: 1, tid: 7, args: { shapes: '[3]' } },
      { name: 'a', ph: 'X', ts: 0, dur: 10, pid: 1, tid: 1, args: { shapes: '' } },
    ]);
    assert.deepEqual(JSON.parse(chromeTrace([])).traceEvents, []);
  });
});
