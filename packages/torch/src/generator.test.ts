import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  buildInfo,
  callOperator,
  cpuCapability,
  Generator,
  getNumThreads,
  NativeError,
  scope,
  setNumThreads,
  type Tensor,
  zeros,
} from './index.js';

const draw = (generator: Generator, count = 100): number[] =>
  scope(() => (callOperator('aten::rand.generator', [count], generator) as Tensor).toArray());
const drawNormal = (generator: Generator, count = 100): number[] =>
  scope(() => (callOperator('aten::randn.generator', [count], generator) as Tensor).toArray());

describe('Generator', () => {
  it('gives the same numbers for the same seed, others for another', () => {
    assert.deepEqual(draw(new Generator(1)), draw(new Generator(1)));
    assert.notDeepEqual(draw(new Generator(1)), draw(new Generator(2)));
    assert.deepEqual(draw(new Generator(2 ** 40 + 1)), draw(new Generator(2 ** 40 + 1)));
    const [a, b] = [new Generator(3), new Generator(3)];
    const interleaved = [draw(a, 10), draw(b, 10), draw(a, 10), draw(b, 10)];
    assert.deepEqual(interleaved[0], interleaved[1]);
    assert.deepEqual(interleaved[2], interleaved[3]);
  });

  it('continues exactly from a saved state, also in another generator', () => {
    const generator = new Generator(5);
    drawNormal(generator, 7); // an odd number: the state holds half a pair of normal numbers
    const state = generator.getState();
    const expected = [drawNormal(generator, 9), draw(generator)];
    generator.setState(state);
    assert.deepEqual([drawNormal(generator, 9), draw(generator)], expected);
    const other = new Generator(99);
    other.setState(Uint8Array.from(state));
    assert.deepEqual([drawNormal(other, 9), draw(other)], expected);
  });

  it('refuses bytes that are no state', () => {
    const generator = new Generator(5);
    assert.throws(() => generator.setState(new Uint8Array(10)), NativeError);
    draw(generator);
    assert.throws(() => new Generator(1.5), /seed: expected an integer, got 1.5/);
  });

  it('draws uniform numbers', () => {
    const values = draw(new Generator(11), 20_000);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    assert.ok(Math.abs(mean - 0.5) < 5 * Math.sqrt(1 / 12 / values.length), `mean ${mean}`); // 5 standard errors
    assert.ok(values.every((value) => value >= 0 && value < 1));
  });
});

describe('runtime', () => {
  it('sets the number of threads, and gives the same sums with each', () => {
    const before = getNumThreads();
    try {
      for (const count of [1, 2]) {
        setNumThreads(count);
        assert.equal(getNumThreads(), count);
        assert.equal(
          scope(() => zeros([100_000]).add(1).sum().item()),
          100_000,
        );
      }
      for (const count of [0, -1, 1.5, 5000]) assert.throws(() => setNumThreads(count), NativeError);
    } finally {
      setNumThreads(before);
    }
  });

  it('says what it is built from', () => {
    assert.match(buildInfo().torchVersion, /^\d+\.\d+\.\d+/);
    assert.match(buildInfo().parallel, /threads/i);
    assert.notEqual(cpuCapability(), 'unknown');
  });
});
