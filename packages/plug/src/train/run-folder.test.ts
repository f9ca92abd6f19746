import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { type MetricsLine, RunFolder } from './index.js';
import { temporaryFolder } from './train.test-support.js';

const line = (step: number): MetricsLine => ({ kind: 'train', step, loss: 1 / step });

describe('metrics of a run', () => {
  it('leave out a last line that a crash cut short, wherever it was cut', () => {
    const whole = `${JSON.stringify(line(3))}\n`;
    for (let cut = 0; cut < whole.length; cut += 5) {
      const folder = new RunFolder(temporaryFolder());
      folder.record(line(1));
      folder.record(line(2));
      appendFileSync(join(folder.path, 'metrics.jsonl'), whole.slice(0, cut));
      assert.deepEqual(folder.metrics(), [line(1), line(2)], `cut at ${cut}`);
      folder.rewind(2);
      folder.record(line(3));
      assert.deepEqual(folder.metrics(), [line(1), line(2), line(3)]);
    }
  });

  it('are rewound to a step, and are empty before the first', () => {
    const folder = new RunFolder(temporaryFolder());
    assert.deepEqual(folder.metrics(), []);
    for (const step of [1, 2, 3]) folder.record(line(step));
    folder.record({ kind: 'evaluate', step: 2, perplexity: 8 });
    folder.rewind(2);
    assert.deepEqual(folder.metrics(), [line(1), line(2), { kind: 'evaluate', step: 2, perplexity: 8 }]);
    folder.rewind(0);
    assert.deepEqual(folder.metrics(), []);
  });

  it('are rewound together with the texts that were written', () => {
    const folder = new RunFolder(temporaryFolder());
    assert.deepEqual(folder.samples(), []);
    const samples = (step: number) => ({ step, samples: [{ source: '春', written: '江', target: '潮' }] });
    for (const step of [2, 4]) folder.recordSamples(samples(step));
    appendFileSync(join(folder.path, 'samples.jsonl'), JSON.stringify(samples(6)).slice(0, 20));
    folder.rewind(3);
    folder.recordSamples(samples(4));
    assert.deepEqual(folder.samples(), [samples(2), samples(4)]);
  });
});

describe('settings of a run', () => {
  it('must be the same again; the first that differs is named with both values', () => {
    const folder = new RunFolder(temporaryFolder());
    const settings = { learningRate: 0.1, seed: 1, init: undefined, nested: { a: [1] } };
    folder.claimSettings(settings);
    folder.claimSettings({ ...settings });
    for (const [change, pattern] of [
      [{ learningRate: 0.2 }, /learningRate = 0\.1, now it is 0\.2/],
      [{ init: 'stage1' }, /init = undefined, now it is "stage1"/],
      [{ nested: { a: [2] } }, /nested = \{"a":\[1\]\}, now it is \{"a":\[2\]\}/],
      [{ seed: undefined }, /seed = 1, now it is undefined/],
    ] as const)
      assert.throws(
        () => folder.claimSettings({ ...settings, ...change }),
        (error) => error instanceof ConfigError && pattern.test(error.message),
        `${pattern}`,
      );
  });
});

describe('checkpoints of a run', () => {
  const writeNumber = (folder: string, number: number): void =>
    writeFileSync(join(folder, 'number'), `${number}`);

  it('keep the newest ones, newest first', () => {
    const folder = new RunFolder(temporaryFolder());
    for (const step of [9, 10, 11, 100]) folder.writeCheckpoint(step, 2, (path) => writeNumber(path, step));
    assert.deepEqual(folder.checkpointSteps(), [100, 11]);
    assert.equal(readFileSync(join(folder.checkpointPath(11), 'number'), 'utf8'), '11');
    // Written again after a damaged one: the new content replaces the old.
    folder.writeCheckpoint(100, 2, (path) => writeNumber(path, 7));
    assert.equal(readFileSync(join(folder.checkpointPath(100), 'number'), 'utf8'), '7');
  });

  it('appear whole or not at all: one whose writing fails leaves no trace', () => {
    const folder = new RunFolder(temporaryFolder());
    folder.writeCheckpoint(1, 1, (path) => writeNumber(path, 1));
    const failing = (path: string): void => {
      writeNumber(path, 2);
      throw new Error('disk');
    };
    assert.throws(() => folder.writeCheckpoint(2, 1, failing), /disk/);
    assert.deepEqual(readdirSync(join(folder.path, 'checkpoints')), ['step-00000001']);
  });

  it('leave out what a killed write left, and remove it on request', () => {
    const folder = new RunFolder(temporaryFolder());
    folder.writeCheckpoint(4, 1, (path) => writeNumber(path, 4));
    const leftover = join(folder.path, 'checkpoints', '.writing-7');
    mkdirSync(leftover);
    writeNumber(leftover, 7);
    assert.deepEqual(new RunFolder(folder.path).checkpointSteps(), [4]);
    assert.ok(existsSync(leftover), 'who only reads a run must not disturb its writer');
    folder.removeLeftovers();
    assert.ok(!existsSync(leftover));
    assert.deepEqual(folder.checkpointSteps(), [4]);
  });
});
