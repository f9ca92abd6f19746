// A run that is killed again and again ends in the same bits as one that is left alone.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { keyedRandom, type RandomStream } from '../random.js';
import { type PretrainSettings, pretrain } from './index.js';
import {
  contentsOf,
  metricsOf,
  nanoSettings,
  temporaryFolder,
  writeTestCorpus,
} from './pretrain.test-support.js';

/** Runs a stage and prints a line for each step. */
const script = `
  import { pretrain } from '${new URL('./index.js', import.meta.url)}';
  const print = (text) => process.stdout.write(text + '\\n');
  await pretrain(JSON.parse(process.argv[1]), { onStep: ({ step }) => print('step ' + step), onNote: print });`;

/**
 * Trains in child processes, each killed a few steps and some milliseconds after it begins, until one of them
 * finishes. Returns the steps that were seen before each kill.
 */
async function trainThroughKills(
  settings: PretrainSettings,
  random: RandomStream,
  maxKills: number,
): Promise<number[]> {
  const kills: number[] = [];
  for (;;) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(settings)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: import.meta.dirname,
    });
    const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
    const stepsToSee = kills.length < maxKills ? random.integer(1, 5) : Number.POSITIVE_INFINITY;
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', async (text: string) => {
      const before = printed.split('step ').length - 1;
      printed += text;
      const now = printed.split('step ').length - 1;
      if (before >= stepsToSee || now < stepsToSee) return;
      await wait(random.uniform() * 12); // in the middle of a step, an evaluation or a save
      child.kill('SIGKILL');
    });
    const [status, signal] = await ended;
    assert.doesNotMatch(printed, /Checkpoint/, 'a kill damaged a checkpoint');
    if (signal === 'SIGKILL') kills.push(Number(/(\d+)\n?$/.exec(printed)?.[1]));
    else {
      assert.equal(status, 0);
      return kills;
    }
  }
}

describe('a run that is killed at random moments', () => {
  const folder = temporaryFolder();
  const places = writeTestCorpus(folder);
  const init = join(folder, 'stage1 float32');

  for (const [stage, dtype, seed] of [
    [1, 'float32', 11],
    [2, 'float32', 12],
    [2, 'bfloat16', 13],
  ] as const)
    it(`ends in the same bits as an uninterrupted one: stage ${stage}, ${dtype}`, async () => {
      const out = join(folder, `stage${stage} ${dtype}`);
      const settings = nanoSettings({ ...places, out, stage, dtype, ...(stage === 2 && { init }) });
      assert.ok(settings.dropout > 0 && settings.accumulationSteps > 1);
      const result = await pretrain(settings);
      assert.deepEqual([result.finished, result.step], [true, settings.totalSteps]);

      const killed = { ...settings, out: `${out}, killed` };
      const kills = await trainThroughKills(killed, keyedRandom(seed), 4);
      assert.ok(kills.length >= 3, `only ${kills.length} kills: ${kills}`);
      const contents = contentsOf(out);
      assert.ok(contents['model/model.safetensors'] && contents['model/vocab.txt']);
      assert.ok(contents['checkpoints/step-00000020/optimizer.safetensors']);
      assert.deepEqual(contentsOf(killed.out), contents, `after kills at steps ${kills}`);
      assert.deepEqual(metricsOf(killed.out), metricsOf(out), `after kills at steps ${kills}`);
      assert.equal(metricsOf(out).filter(({ kind }) => kind === 'train').length, settings.totalSteps);
    });
});
