// Recorded programs: a run equals running the calls, inputs are read anew, nothing is left behind.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { aten } from './aten.js';
import { noGrad } from './autograd.js';
import { full, ones, tensor, zeros } from './create.js';
import { DisposedError, NativeError, type OpenPlugError } from './errors.js';
import { randomTensor } from './kernels.test-support.js';
import * as nn from './nn.js';
import { Program } from './program.js';
import { liveTensorBytes, liveTensorCount } from './runtime.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

const record = (body: () => Tensor): Program => noGrad(() => Program.record(body));

/** Records `body`, then writes three sets of numbers into `inputs`: each run must give the bits that `body` gives. */
function assertRepeats(inputs: readonly Tensor[], body: () => Tensor): void {
  scope(() => {
    using program = record(body);
    assert.deepEqual(program.firstResult.toArray(), noGrad(body).toArray());
    for (let round = 0; round < 3; round++) {
      for (const [i, input] of inputs.entries())
        input.copy_(randomTensor(input.shape, 10 * round + i).to(input.dtype));
      const wanted = noGrad(body);
      const got = program.run();
      assert.deepEqual([got.dtype, got.shape], [wanted.dtype, wanted.shape]);
      assert.deepEqual(got.toArray(), wanted.toArray(), `round ${round}`);
    }
  });
}

describe('a recorded program', () => {
  const [x, y] = [randomTensor([3, 4], 1), randomTensor([3, 4], 2)];

  it('repeats its calls on what its inputs hold by then', () => {
    assertRepeats([x, y], () => x.mul(y).add(1).softmax(-1).matmul(y.transpose(0, 1)).sum([1], false));
    assertRepeats([x], () => nn.biasGelu(x.to('float32'), ones([4])));
  });

  it('gives a new tensor at each run', () => {
    using program = record(() => x.add(1));
    const [first, second] = [program.run(), program.run()];
    first.zero_();
    assert.deepEqual(second.toArray(), x.add(1).toArray());
    assert.notDeepEqual(program.firstResult.toArray(), first.toArray());
  });

  it('repeats operators in place, on inputs and on what it made itself', () => {
    assertRepeats([x], () => {
      const sum = x.add(1);
      sum.mul_(2);
      const view = sum.narrow(1, 1, 2);
      view.add_(10);
      return sum.add(0);
    });
    const counter = zeros([2]);
    using program = record(() => counter.add_(1));
    assert.deepEqual(counter.toArray(), [1, 1]);
    for (let run = 2; run < 5; run++) assert.deepEqual(program.run().toArray(), [run, run]);
    assert.deepEqual(counter.toArray(), [4, 4]);
  });

  it('follows views, and operators that give their argument back', () => {
    assertRepeats([x], () => {
      const same = x.to('float64'); // x itself
      const part = same.transpose(0, 1).narrow(0, 1, 2).reshape(-1);
      return part.mul(same.select(0, 0).sum());
    });
    using program = record(() => x);
    x.fill_(7);
    assert.deepEqual(program.run().toArray(), x.toArray());
  });

  it('takes and gives lists, also of optional tensors', () => {
    assertRepeats([x, y], () => {
      const [left, right] = x.split(2, 1) as [Tensor, Tensor];
      const [large] = left.mul(right).topk(1);
      return aten.cat([right, y, left, large, ones([3, 1], 'float64')], 1);
    });
    assertRepeats([x], () => {
      const order = aten.argsort(x.select(0, 1));
      return aten['index.Tensor'](x, [undefined, order]);
    });
    assertRepeats([x], () => aten['index.Tensor'](x, [tensor([2, 0], { dtype: 'int64' })]).add(x.mean()));
  });

  it('keeps its inputs alive, whatever becomes of their handles', () => {
    const input = ones([1000]);
    using program = record(() => scope(() => input.add(full([1000], 2)).mul(ones([1000]))));
    input.dispose();
    for (let i = 0; i < 5; i++) scope(() => ones([1000]).fill_(i)); // what was freed would be overwritten
    assert.deepEqual([...new Set(program.run().toArray())], [3]);
  });

  it('takes no new tensor for one that was freed while it was recorded', () => {
    assertRepeats([x], () => {
      let sum = x.add(0);
      for (let i = 1; i < 30; i++) {
        x.mul(i).dispose(); // its address is free for the constant
        sum = sum.add(tensor([i, 0, 0, 0], { dtype: 'float64' }));
      }
      return sum;
    });
  });

  it('has no gradients, also of parameters', () => {
    const weight = tensor([1, 2], { requiresGrad: true });
    using program = record(() => weight.mul(3));
    assert.equal(program.run().requiresGrad, false); // run outside noGrad
  });

  it('is recorded inside noGrad only, and not inside another recording', () => {
    assert.throws(() => Program.record(() => x), /programs have no gradients: record inside noGrad\(\)/);
    using outer = record(() => {
      assert.throws(() => Program.record(() => x), /recordings do not nest/);
      return x.add(5); // the outer recording goes on
    });
    assert.deepEqual(outer.run().toArray(), x.add(5).toArray());
    using other = record(() => x.add(6));
    assert.throws(() => record(() => other.run()), /cannot be run while another is recorded/);
    assert.deepEqual(other.run().toArray(), x.add(6).toArray());
  });

  it('cannot depend on values that JavaScript reads', () => {
    for (const read of [() => x.toArray(), () => x.sum().item(), () => x.toTypedArray()])
      assert.throws(() => record(() => x.mul(Number(read()))), /values cannot be read while a program/);
    assert.throws(() => record(() => x.mul(aten.equal(x, y) ? 1 : 2)), /its result is no tensor/);
    assert.equal(x.add(1).toArray().length, 12); // reading works again
  });

  it('leaves nothing behind when its recording fails', () => {
    const before = liveTensorCount();
    const error = new Error('mine');
    const failing = [
      () => {
        x.add(1);
        throw error;
      },
      () => x.matmul(ones([5, 5], 'float64')),
      () => {
        const gone = x.add(1);
        gone.dispose();
        return gone;
      },
    ];
    for (const body of failing) assert.throws(() => scope(() => record(body)));
    assert.throws(
      () => scope(() => record(failing[0]!)),
      (thrown) => thrown === error,
    );
    assert.equal(liveTensorCount(), before);
    x.add(1).dispose(); // is recorded nowhere
    using program = record(() => x.add(2));
    assert.deepEqual(program.run().toArray(), x.add(2).toArray());
  });

  it('survives a run that fails', () => {
    const ids = tensor([0, 1], { dtype: 'int64' });
    const table = randomTensor([3, 2], 4);
    using program = record(() => nn.embedding(table, ids).mul(2));
    ids.fill_(9);
    assert.throws(() => program.run(), NativeError);
    ids.fill_(1);
    assert.deepEqual(program.run().toArray(), nn.embedding(table, ids).mul(2).toArray());
  });

  it('says so when a list comes out longer or shorter than it was', () => {
    const flags = tensor([1, 1, 0], { dtype: 'int64' });
    using program = record(() => aten['unbind.int'](aten.nonzero(flags), 0)[0]!);
    flags.fill_(1);
    assert.throws(() => program.run(), /gave 3 tensors, when it was recorded 2/);
    flags.fill_(0);
    assert.throws(() => program.run(), /gave 0 tensors, when it was recorded 2/);
  });

  it('cannot be run after it was disposed of, which may happen twice', () => {
    const program = record(() => x.add(1));
    program[Symbol.dispose]();
    program[Symbol.dispose]();
    assert.throws(
      () => program.run(),
      (error: OpenPlugError) =>
        error instanceof DisposedError && /program was disposed of/.test(error.message),
    );
  });

  it('holds its inputs and nothing else, over 1,000 runs', () => {
    const bytes = liveTensorBytes();
    const program = record(() => scope(() => x.matmul(y.transpose(0, 1)).split(1, 0)[1]!.add(1)));
    program.firstResult.dispose();
    const [count, held] = [liveTensorCount(), liveTensorBytes()];
    assert.equal(held, bytes);
    const resident = (): number => process.memoryUsage().rss;
    let settled = 0;
    const large = ones([500_000]);
    using big = record(() => large.add(1).mul(2)); // 2 MB each
    for (let run = 0; run < 1000; run++) {
      scope(() => {
        program.run();
        big.run();
      });
      assert.equal(liveTensorCount(), count + 2);
      if (run === 100) settled = resident();
    }
    assert.ok(resident() - settled < 100e6, `${resident() - settled} bytes more after 900 runs`);
    program[Symbol.dispose]();
  });

  it('belongs to one thread: workers record and run at the same time', async () => {
    const source = `
      import { parentPort, workerData } from 'node:worker_threads';
      import { full, noGrad, Program, scope, zeros } from ${JSON.stringify(new URL('./index.js', import.meta.url).href)};
      const sum = zeros([3]);
      const step = full([3], workerData);
      const program = noGrad(() => Program.record(() => sum.add_(step)));
      for (let i = 0; i < 500; i++) scope(() => program.run());
      parentPort.postMessage(sum.toArray());`;
    const results = [1, 2].map(
      (seed) =>
        new Promise((resolve, reject) => {
          const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
          const worker = new Worker(url, { workerData: seed });
          worker.once('message', resolve);
          worker.once('error', reject);
        }),
    );
    const here = zeros([3]);
    using program = record(() => here.add_(1));
    for (let i = 0; i < 500; i++) scope(() => program.run());
    assert.deepEqual(here.toArray(), [501, 501, 501]);
    assert.deepEqual(await Promise.all(results), [
      [501, 501, 501],
      [1002, 1002, 1002],
    ]);
  });
});
