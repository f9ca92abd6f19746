// Who frees tensors, and when: scopes, keep(), dispose(), the garbage collector, and what V8 is told.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import {
  aten,
  backward,
  checkpoint,
  DisposedError,
  empty,
  keep,
  liveTensorBytes,
  liveTensorCount,
  OpenPlugError,
  ones,
  scope,
  type Tensor,
  tensor,
  zeros,
} from './index.js';

describe('scope', () => {
  it('disposes of what it does not return', () => {
    const before = liveTensorCount();
    let inner: Tensor | undefined;
    const result = scope(() => {
      inner = ones([2]);
      return inner.add(1);
    });
    assert.equal(inner!.isDisposed, true);
    assert.deepEqual(result.toArray(), [2, 2]);
    assert.equal(liveTensorCount(), before + 1);
    assert.throws(() => inner!.toArray(), DisposedError);
    result.dispose();
    assert.equal(liveTensorCount(), before);
  });

  it('finds returned tensors in arrays, objects, maps and sets, and in cycles', () => {
    const before = liveTensorCount();
    const result = scope(() => {
      zeros([9]);
      const cyclic: { self?: unknown; tensor: Tensor } = { tensor: ones([1]) };
      cyclic.self = cyclic;
      return {
        list: [ones([1]), [ones([1])]],
        map: new Map([['k', ones([1])]]),
        set: new Set([ones([1])]),
        cyclic,
        count: 3,
        data: new Float32Array(10),
        nothing: undefined,
      };
    });
    assert.equal(liveTensorCount(), before + 5);
    assert.equal(result.map.get('k')!.item(), 1);
    assert.equal(result.cyclic.tensor.item(), 1);
    scope(() => result); // made outside: not this scope's to free
    assert.equal([...result.set][0]!.item(), 1);
  });

  it('nests: what an inner scope returns belongs to the outer one', () => {
    const before = liveTensorCount();
    scope(() => {
      const passed = scope(() => {
        ones([1]);
        return ones([2]);
      });
      assert.equal(liveTensorCount(), before + 1);
      assert.equal(passed.isDisposed, false);
    });
    assert.equal(liveTensorCount(), before);
  });

  it('frees everything when the body throws, and passes the error on', () => {
    const before = liveTensorCount();
    const error = new Error('mine');
    assert.throws(
      () =>
        scope(() => {
          ones([1]);
          scope(() => {
            ones([1]);
            throw error;
          });
        }),
      (thrown) => thrown === error,
    );
    assert.equal(liveTensorCount(), before);
    scope(() => ones([1])).dispose(); // the stack of scopes is intact
    assert.equal(liveTensorCount(), before);
  });

  it('keep() takes a tensor out of every open scope', () => {
    const before = liveTensorCount();
    let kept: Tensor | undefined;
    scope(() => {
      scope(() => {
        kept = keep(ones([1]));
      });
      const outer = ones([1]);
      scope(() => keep(outer));
      assert.equal(liveTensorCount(), before + 2);
      outer.dispose();
    });
    assert.equal(kept!.item(), 1);
    kept!.dispose();
    assert.equal(liveTensorCount(), before);
  });

  it('refuses asynchronous bodies and frees what they made so far', async () => {
    const before = liveTensorCount();
    assert.throws(
      () =>
        scope(async () => {
          const x = ones([1]);
          await null;
          x.item(); // fails, unseen
        }),
      (error: Error) => error instanceof OpenPlugError && error.code === 'SCOPE',
    );
    assert.equal(liveTensorCount(), before);
    await new Promise((resolve) => setTimeout(resolve, 1)); // its rejection must not surface
  });

  it('`using` frees at the end of a block', () => {
    const before = liveTensorCount();
    {
      using x = ones([2]);
      using y = x.add(1);
      assert.equal(y.numel + liveTensorCount() - before, 4);
    }
    assert.equal(liveTensorCount(), before);
  });
});

describe('live tensors', () => {
  it('stay constant over 1,000 training steps of all kinds of calls', () => {
    const weight = tensor([0.5, -0.5, 1, 2], { shape: [2, 2], requiresGrad: true });
    const step = () =>
      scope(() => {
        const x = ones([3, 2]);
        const h = checkpoint((input) => input.matmul(weight).gelu().softmax(-1), [x.matmul(weight)]);
        const [values] = h.topk(1);
        const loss = values
          .sum()
          .add(aten.cat(h.split(1, 1), 0).mean())
          .add_(1);
        backward(loss);
        const gradient = weight.grad!;
        weight.grad = undefined;
        assert.throws(() => x.matmul(x));
        return gradient.mul(2).toArray();
      });
    const first = step();
    const [count, bytes] = [liveTensorCount(), liveTensorBytes()];
    for (let i = 0; i < 1000; i++) {
      assert.deepEqual(step(), first);
      assert.equal(liveTensorCount(), count, `step ${i}`);
      assert.equal(liveTensorBytes(), bytes, `step ${i}`);
    }
  });

  it('are counted in bytes once for all views of one memory', () => {
    const before = liveTensorBytes();
    const base = zeros([1000]);
    assert.equal(liveTensorBytes() - before, 4000);
    const view = base.narrow(0, 0, 10);
    const same = base.to('float32');
    assert.equal(liveTensorBytes() - before, 4000);
    base.dispose();
    same.dispose();
    assert.equal(liveTensorBytes() - before, 4000); // the view holds all of it
    view.dispose();
    assert.equal(liveTensorBytes() - before, 0);
    using borrowed = tensor(new Float32Array(1000), { share: true });
    assert.equal(borrowed.numel + liveTensorBytes() - before, 1000);
  });
});

describe('the memory of the process', () => {
  it('does not grow by making and freeing tensors of one size', () => {
    const round = () => scope(() => ones([2_000_000]).exp().select(0, 0).item()); // 8 MB each
    round();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 100; i++) round();
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 100e6, `${grown} bytes more after making and freeing 1600 MB`);
  });

  it('is usable to both ends of every block, and asking for too much is an error', () => {
    for (const size of [1, 3, 17, 1000, 300_000])
      scope(() => {
        const x = ones([size], 'int8');
        assert.deepEqual(
          x
            .narrow(0, size - 1, 1)
            .fill_(2)
            .toArray(),
          [2],
        );
        assert.equal(x.sum().item(), size + 1);
      });
    assert.throws(() => empty([2 ** 50]), /memory/);
    assert.deepEqual(empty([0]).toArray(), []);
  });
});

describe('garbage collection', () => {
  function inChild(body: string): string {
    const source = `import { empty, tensor, zeros, liveTensorCount, liveTensorBytes, Generator } from ${JSON.stringify(
      new URL('./index.js', import.meta.url).href,
    )};
      const turn = () => new Promise((resolve) => setImmediate(resolve));
      ${body}`;
    const child = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', source], {
      encoding: 'utf8',
    });
    assert.equal(child.status, 0, child.stderr);
    return child.stdout.trim();
  }

  it('frees tensors that were dropped without dispose()', () => {
    const output = inChild(`
      (() => { for (let i = 0; i < 500; i++) { zeros([1000]); new Generator(i); } })();
      const before = [liveTensorCount(), liveTensorBytes()];
      for (let i = 0; i < 10 && liveTensorCount() > 0; i++) { await turn(); gc(); await turn(); }
      console.log(JSON.stringify([before, [liveTensorCount(), liveTensorBytes()]]));`);
    assert.deepEqual(JSON.parse(output), [
      [500, 2_000_000],
      [0, 0],
    ]);
  });

  it('keeps shared memory while the tensor lives and frees it after', () => {
    const output = inChild(`
      let x = (() => tensor(new Float32Array(1 << 20).fill(3), { share: true }))();
      for (let i = 0; i < 5; i++) { gc(); await turn(); }
      new Float32Array(1 << 20).fill(9);
      const sum = x.sum().item();
      const during = process.memoryUsage().arrayBuffers;
      x = undefined;
      for (let i = 0; i < 10; i++) { gc(); await turn(); }
      console.log(sum / (1 << 20), during - process.memoryUsage().arrayBuffers >= 4 << 20);`);
    assert.equal(output, '3 true');
  });

  it('is prompted by the memory of tensors that are dropped, when the event loop turns', () => {
    // 200 tensors of 32 MiB, never disposed of: unless V8 is told of them they pile up to 6400 MiB (the pages are
    // never touched). process.memoryUsage() does not show what V8 was told, so this is how to see it.
    const output = inChild(`
      let most = 0;
      for (let i = 0; i < 200; i++) {
        empty([8 << 20]);
        most = Math.max(most, liveTensorBytes());
        await turn();
      }
      console.log(most / 2 ** 20);`);
    assert.ok(Number(output) < 3000, `${output} MiB at most`);
  });
});
