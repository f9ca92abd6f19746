// A save that is killed or runs out of disk leaves the previous model.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { scope } from '@openplug/torch';
import { CheckpointError } from '../errors.js';
import { newParameters, PlugModel, plugConfigOfSize } from '../model/index.js';
import { loadModel, saveModel } from './index.js';

// 14 MiB: writing it takes long enough to be interrupted.
const config = plugConfigOfSize('mini', 600, { maxPositionEmbeddings: 8, decHiddenLayers: 0 });
const parent = mkdtempSync(join(tmpdir(), 'plug-interrupted-'));
after(() => rmSync(parent, { recursive: true }));

/** Saves without end; model number n has n in every element. Prints n after each save. */
const saveForever = `
  import { scope } from '@openplug/torch';
  import { newParameters, PlugModel } from '${new URL('../model/index.js', import.meta.url)}';
  import { saveModel } from '${new URL('./index.js', import.meta.url)}';
  const model = new PlugModel(${JSON.stringify(config)}, newParameters(1));
  for (let number = 1; ; number++) {
    scope(() => { for (const parameter of model.parameters.values()) parameter.detach().fill_(number); });
    saveModel(process.argv[1], model);
    process.stdout.write(number + '\\n');
  }`;

/** The number that all elements hold; fails when the model is a mixture. */
function numberIn(folder: string): number {
  using model = loadModel(folder);
  return scope(() => {
    const ends = [...model.parameters.values()].flatMap((parameter) => [
      parameter.min().item(),
      parameter.max().item(),
    ]);
    assert.equal(new Set(ends).size, 1, 'a mixture of two saves');
    return ends[0]!;
  });
}

describe('a save that is interrupted', () => {
  it('by SIGKILL at any moment leaves a whole model: the last one saved, or the next', async () => {
    const folder = join(parent, 'killed');
    let midway = 0;
    for (let round = 0; round < 6; round++) {
      const child: ChildProcess = spawn(
        process.execPath,
        ['--input-type=module', '-e', saveForever, folder],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
          cwd: import.meta.dirname,
        },
      );
      let printed = '';
      child.stdout!.on('data', (chunk: Buffer) => {
        printed += chunk;
      });
      await once(child.stdout!, 'data');
      await wait(round * 5.3);
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      const saved = printed.trim().split('\n').length;
      const found = numberIn(folder);
      assert.ok(found === saved || found === saved + 1, `round ${round}: ${found} after ${saved}`);
      if (existsSync(`${join(folder, 'model.safetensors')}.tmp-${child.pid}`)) midway++;
    }
    assert.ok(midway > 0, 'no kill came in the middle of a write: the test proves nothing');
  });

  it('by a full disk says so and leaves the old model', (context) => {
    const folder = join(parent, 'full');
    mkdirSync(folder);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', folder], {
      encoding: 'utf8',
    });
    if (mounted.status !== 0)
      return context.skip(
        `cannot mount a small disk (needs root): ${mounted.stderr?.trim() || mounted.error}`,
      );
    try {
      using model = new PlugModel(config, newParameters(1));
      saveModel(folder, model);
      const old = readFileSync(join(folder, 'model.safetensors'));
      writeFileSync(join(folder, 'filler'), Buffer.alloc(41e6 - old.length - 1e7));
      scope(() => {
        for (const parameter of model.parameters.values()) parameter.detach().fill_(5);
      });
      assert.throws(
        () => saveModel(folder, model),
        (error) =>
          error instanceof CheckpointError && /model\.safetensors.*no space left/i.test(error.message),
      );
      assert.ok(readFileSync(join(folder, 'model.safetensors')).equals(old));
      loadModel(folder)[Symbol.dispose]();
      rmSync(join(folder, 'filler'));
      saveModel(folder, model);
      assert.equal(numberIn(folder), 5);
    } finally {
      // Lazily: a mapping lives until the garbage collector has seen it.
      assert.equal(spawnSync('umount', ['--lazy', folder]).status, 0);
    }
  });
});
