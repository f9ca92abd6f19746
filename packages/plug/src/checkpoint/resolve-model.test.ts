import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { ConfigError } from '../errors.js';
import { resolveModelFolder } from './resolve-model.js';

describe('resolveModelFolder', () => {
  const root = mkdtempSync(join(tmpdir(), 'resolve-model-'));
  after(() => rmSync(root, { recursive: true }));

  function put(...parts: string[]): string {
    const folder = join(root, ...parts);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'config.json'), '{}');
    return folder;
  }

  it('prefers a finished model to a checkpoint, and pre-training’s to a fine-tuned one', () => {
    // From the last choice to the first: each new one takes over from those before.
    mkdirSync(join(root, 'run'));
    for (const parts of [
      ['stage2', 'checkpoints', 'step-00000900'],
      ['checkpoints', 'step-2'],
      ['checkpoints', 'step-10'],
      ['finetune', 'couplet', 'model'],
      ['finetune', 'model'],
      ['stage2', 'model'],
      ['model'],
      [],
    ]) {
      const folder = put('run', ...parts);
      assert.equal(resolveModelFolder(join(root, 'run')), folder);
    }
  });

  it('takes the newest of several fine-tuned models', () => {
    for (const [name, seconds] of [
      ['a', 1000],
      ['b', 3000],
      ['c', 2000],
    ] as const) {
      put('tuned', 'finetune', name, 'model');
      utimesSync(join(root, 'tuned', 'finetune', name), seconds, seconds);
    }
    assert.equal(resolveModelFolder(join(root, 'tuned')), join(root, 'tuned', 'finetune', 'b', 'model'));
  });

  it('lists what it looked for', () => {
    const empty = join(root, 'empty');
    mkdirSync(empty);
    assert.throws(
      () => resolveModelFolder(empty),
      (error) => {
        assert.ok(error instanceof ConfigError);
        for (const place of ['model', join('stage2', 'model'), join('checkpoints', 'step-N')])
          assert.ok(error.message.includes(join(empty, place, 'config.json')), error.message);
        return true;
      },
    );
    assert.throws(() => resolveModelFolder(join(root, 'nowhere')), /nowhere: no such folder/);
  });
});
