// The addon in worker threads: several at once, torn down cleanly, also in the middle of work.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { backward, liveTensorCount, scope, tensor } from './index.js';

const index = JSON.stringify(new URL('./index.js', import.meta.url).href);

// Fits y = 2x with a customFunction, a checkpoint and a generator, and leaves tensors undisposed on purpose.
const training = `
  import { parentPort, workerData } from 'node:worker_threads';
  import * as torch from ${index};
  const { tensor, scope, backward, noGrad, customFunction, checkpoint, Generator, callOperator } = torch;
  const square = {
    forward: (x) => ({ outputs: [x.mul(x)], saved: x }),
    backward: (x, [gradient]) => [gradient.mul(x).mul(2)],
  };
  const generator = new Generator(workerData.seed);
  const w = tensor([0], { requiresGrad: true });
  const dropped = callOperator('aten::rand.generator', [1000], generator);
  const pending = customFunction(square, [checkpoint((x) => x.mul(w), [w])]); // a graph that is never run
  for (let step = 0; step < workerData.steps; step++) {
    scope(() => {
      const x = callOperator('aten::rand.generator', [64], generator);
      const error = checkpoint((z) => z.mul(w), [x.add(w.mul(0))]).sub(x.mul(2));
      const [loss] = customFunction(square, [error]);
      backward(loss.mean());
      noGrad(() => w.add_(w.grad, -0.5));
      w.grad.zero_();
    });
    if (step === 5) parentPort.postMessage('running');
  }
  parentPort.postMessage(w.item());
`;

function start(seed: number, steps: number): Worker {
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(training)}`), {
    workerData: { seed, steps },
  });
}

function message(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

/** What a training run of `worker` ends with, and its exit code. */
async function finish(worker: Worker): Promise<[unknown, number]> {
  let last: unknown;
  worker.on('message', (value) => {
    last = value;
  });
  const code = await new Promise<number>((resolve, reject) => {
    worker.once('exit', resolve);
    worker.once('error', reject);
  });
  return [last, code];
}

const trainHere = () => {
  const w = tensor([1], { requiresGrad: true });
  scope(() => backward(w.mul(w).sum()));
  return w.grad!.item();
};

describe('worker threads', () => {
  it('train at the same time as each other and the main thread', async () => {
    const before = liveTensorCount();
    const workers = [1, 2, 3].map((seed) => finish(start(seed, 200)));
    const here = Array.from({ length: 200 }, trainHere);
    assert.ok(here.every((gradient) => gradient === 2));
    const results = await Promise.all(workers);
    for (const [value, code] of results) {
      assert.equal(code, 0);
      assert.ok(Math.abs((value as number) - 2) < 0.1, `w = ${value}`);
    }
    assert.ok(liveTensorCount() <= before + 400); // counts are of this thread only
    const again = await finish(start(1, 200));
    assert.deepEqual(again, results[0]); // whatever else ran at the time
  });

  it('are torn down 20 times: at their end, and in the middle', async () => {
    for (let round = 0; round < 20; round++) {
      if (round % 4 === 0) {
        const [, code] = await finish(start(round, 10));
        assert.equal(code, 0);
      } else {
        const workers = [start(round, 1e9), start(round + 100, 1e9)];
        const exits = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)));
        // the third kind is stopped while the addon may still be loading
        if (round % 4 !== 3) await Promise.all(workers.map(message));
        await Promise.all(workers.map((worker) => worker.terminate()));
        await Promise.all(exits);
      }
      assert.equal(trainHere(), 2);
    }
  });
});
