// Damaged, half-written and impossible checkpoints: a run goes on from the last whole one, or says what is wrong.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openSafetensors, scope, writeSafetensors } from '@openplug/torch';
import { CheckpointError } from '../errors.js';
import { RunFolder, train } from './index.js';
import { temporaryFolder, toyModel, toyObjective, toySettings, weightsOf } from './train.test-support.js';

const settings = toySettings; // 12 steps, checkpoints after 4, 8 and 12, of which two stay

/** Trains in `folder`, at once or to the end; gives the weights, where it continued and what it noted. */
async function run(folder: RunFolder, stopAt = settings.totalSteps) {
  using model = toyModel();
  const notes: string[] = [];
  let resumedAt = 0;
  const controller = new AbortController();
  const result = await train(
    model,
    toyObjective(model),
    settings,
    folder,
    {
      onStep: ({ step }) => step === stopAt && controller.abort(),
      onNote: (text) => notes.push(text),
      onResume: (step) => {
        resumedAt = step;
      },
    },
    controller.signal,
  );
  return { weights: weightsOf(model), notes, resumedAt, result };
}

const uninterrupted = await run(new RunFolder(temporaryFolder()));

/** A run that stopped at step 9, with checkpoints 8 and 9. */
async function stoppedRun(): Promise<RunFolder> {
  const folder = new RunFolder(temporaryFolder());
  await run(folder, 9);
  assert.deepEqual(folder.checkpointSteps(), [9, 8]);
  return folder;
}

describe('a damaged checkpoint', () => {
  const damages: Record<string, (path: string) => void> = {
    'half of it': (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
    'all but a byte': (path) => truncateSync(path, statSync(path).size - 2),
    'nothing of it': (path) => truncateSync(path, 0),
    'no file': (path) => rmSync(path),
  };
  for (const file of ['model.safetensors', 'optimizer.safetensors', 'state.json'])
    for (const [what, damage] of Object.entries(damages))
      it(`with ${what} left of ${file} is noted, and the one before is used`, async () => {
        const folder = await stoppedRun();
        damage(join(folder.checkpointPath(9), file));
        const { weights, notes, resumedAt } = await run(folder);
        assert.equal(notes.length, 1, notes.join('\n'));
        assert.match(notes[0]!, /^Checkpoint .*step-00000009 cannot be used .*one before/s);
        assert.ok(notes[0]!.includes(file) || /no file holds .*"first\.weight"/.test(notes[0]!), notes[0]);
        assert.equal(resumedAt, 8);
        assert.deepEqual(weights, uninterrupted.weights);
        const steps = folder.metrics().filter(({ kind }) => kind === 'train');
        assert.deepEqual(
          steps.map(({ step }) => step),
          Array.from({ length: 12 }, (_, index) => index + 1),
        );
      });

  it('that is the only one leaves nothing of itself: the run starts anew, and says so', async () => {
    const folder = await stoppedRun();
    rmSync(folder.checkpointPath(8), { recursive: true });
    // Sound but of another model: this shows only after the weights were found to be in order.
    const path = join(folder.checkpointPath(9), 'optimizer.safetensors');
    scope(() => {
      using file = openSafetensors(path);
      const some = new Map(
        file
          .names()
          .slice(1)
          .map((name) => [name, file.tensor(name).clone()]),
      );
      writeSafetensors(path, some);
    });
    const { weights, notes, resumedAt } = await run(folder);
    assert.equal(resumedAt, 0);
    assert.match(notes.join('\n'), /has no tensor "exp_avg.*No checkpoint .* starts anew/s);
    assert.deepEqual(weights, uninterrupted.weights);
  });
});

describe('a full disk', () => {
  it('in the middle of a checkpoint says so, keeps the earlier one, and the run goes on later', async (context) => {
    const path = temporaryFolder();
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', path], {
      encoding: 'utf8',
    });
    if (mounted.status !== 0)
      return context.skip(
        `cannot mount a small disk (needs root): ${mounted.stderr?.trim() || mounted.error}`,
      );
    try {
      const folder = new RunFolder(path);
      await run(folder, 5);
      const kept = readFileSync(join(folder.checkpointPath(5), 'optimizer.safetensors'));
      // The disk is full but for ever more pages, so that the write stops at each file in turn.
      const filler = join(path, 'filler');
      const failures: string[] = [];
      for (let freePages = 0; !folder.checkpointSteps().includes(6); freePages++) {
        fill(filler, freePages);
        try {
          await run(folder, 6);
        } catch (error) {
          assert.ok(error instanceof CheckpointError, `${freePages} pages free: ${error}`);
          assert.match(error.message, /Cannot write .*no space left/i);
          failures.push(error.message);
          assert.deepEqual(readdirSync(join(path, 'checkpoints')), ['step-00000004', 'step-00000005']);
        }
      }
      const places = ['model.safetensors', 'optimizer.safetensors', 'step-00000006:'];
      for (const place of places)
        assert.ok(
          failures.some((message) => message.includes(place)),
          `no failure in ${place}: ${failures.join('\n')}`,
        );
      assert.ok(readFileSync(join(folder.checkpointPath(5), 'optimizer.safetensors')).equals(kept));
      rmSync(filler);
      const { weights, resumedAt } = await run(folder);
      assert.equal(resumedAt, 6);
      assert.deepEqual(weights, uninterrupted.weights);
    } finally {
      // Lazily: a mapping lives until the garbage collector has seen it.
      assert.equal(spawnSync('umount', ['--lazy', path]).status, 0);
    }
  });
});

/** Writes `path` as large as the disk allows less `freePages` pages of 4 KiB. */
function fill(path: string, freePages: number): void {
  if (existsSync(path)) rmSync(path);
  const page = Buffer.alloc(4096);
  try {
    for (;;) writeFileSync(path, page, { flag: 'a' });
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  }
  truncateSync(path, statSync(path).size - freePages * page.length);
}
