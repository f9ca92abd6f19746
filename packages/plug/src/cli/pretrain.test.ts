// Spawns the real program: Ctrl-C saves and says how to go on, and the same command goes on to the same bits.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  contentsOf,
  metricsOf,
  temporaryFolder,
  writeTestCorpus,
} from '../pretrain/pretrain.test-support.js';

const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));

async function plug(
  parameters: string[],
  onStarted?: (child: ChildProcess) => void,
): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [program, ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  onStarted?.(child);
  const [status] = (await once(child, 'close')) as [number];
  return { status, stdout, stderr };
}

describe('plug pretrain', () => {
  const folder = temporaryFolder();
  const { corpus, tokenizer } = writeTestCorpus(folder);
  const flags = {
    corpus,
    tokenizer,
    stage: 1,
    size: 'nano',
    'total-steps': 120,
    'max-positions': 32,
    'max-length': 24,
    'tokens-per-batch': 64,
    'evaluate-every': 50,
    'evaluation-batches': 1,
    'save-every': 40,
    dtype: 'float32',
    threads: 1,
  };
  const commandFor = (out: string, changes: Record<string, string | number> = {}): string[] => [
    'pretrain',
    ...Object.entries({ ...flags, out, ...changes }).flatMap(([name, value]) => [`--${name}`, `${value}`]),
  ];

  it('saves at Ctrl-C with exit status 130, says how to go on, and the same command does', async () => {
    const [plain, stopped] = [join(folder, 'plain'), join(folder, 'stopped')];
    const whole = await plug([...commandFor(plain), '--json']);
    assert.equal(whole.status, 0, whole.stderr);
    const result = JSON.parse(whole.stdout) as { finished: boolean; step: number; model: string };
    assert.deepEqual([result.finished, result.step, result.model], [true, 120, join(plain, 'model')]);

    const interrupted = await plug(commandFor(stopped), (child) => {
      // As soon as the run has begun to record steps.
      const timer = setInterval(() => {
        try {
          if (readFileSync(join(stopped, 'metrics.jsonl'), 'utf8').split('\n').length > 5)
            child.kill('SIGINT');
          else return;
        } catch {
          return; // not there yet
        }
        clearInterval(timer);
      }, 2);
      child.on('close', () => clearInterval(timer));
    });
    assert.equal(interrupted.status, 130, interrupted.stderr);
    const step = Number(
      /Stopped at step (\d+) and saved\. The same command continues/.exec(interrupted.stderr)?.[1],
    );
    assert.ok(step >= 4 && step < 120, interrupted.stderr);
    assert.equal(interrupted.stdout, '');
    assert.equal(metricsOf(stopped).at(-1)?.step, step);

    const again = await plug(commandFor(stopped));
    assert.equal(again.status, 0, again.stderr);
    assert.match(again.stderr, new RegExp(`Continuing at step ${step}`));
    assert.match(again.stdout, /^Finished after 120 steps: /);
    assert.deepEqual(contentsOf(stopped), contentsOf(plain));
    assert.deepEqual(metricsOf(stopped), metricsOf(plain));
  });

  it('profiles five steps, and trains to the same bits', async () => {
    const [plain, profiled] = [join(folder, 'unprofiled'), join(folder, 'profiled')];
    const file = join(folder, 'trace.json');
    const steps = { 'total-steps': 20 };
    assert.equal((await plug(commandFor(plain, steps))).status, 0);
    const { status, stderr } = await plug(commandFor(profiled, { ...steps, profile: file }));
    assert.equal(status, 0, stderr);
    assert.deepEqual(contentsOf(profiled), contentsOf(plain));
    const { traceEvents } = JSON.parse(readFileSync(file, 'utf8')) as { traceEvents: { name: string }[] };
    const count = (name: string) => traceEvents.filter((event) => event.name === name).length;
    assert.equal(count('openplug::sum_of_squares'), 5); // of the gradients, once a step
    assert.ok(count('openplug::packed_attention') >= 5);
    assert.match(stderr, /Profile of [\d.]+ ms in operators: .*trace\.json/);
    assert.equal(stderr.match(/\d %(?: |$)/gm)?.length, 10, stderr);
    // Continuing with or without it is one run; a process with too few steps says so.
    const again = await plug(commandFor(plain, { ...steps, profile: join(folder, 'none.json') }));
    assert.equal(again.status, 0, again.stderr);
    assert.match(again.stderr, /No profile was taken: the process ended before its 11th step/);
    const nowhere = await plug(commandFor(plain, { profile: join(folder, 'absent', 'trace.json') }));
    assert.equal(nowhere.status, 2);
    assert.match(nowhere.stderr, /there is no folder .*absent/);
  });

  it('refuses other settings for a run, by name, with exit status 2', async () => {
    const out = join(folder, 'refused');
    const first = await plug(commandFor(out, { 'total-steps': 2 }));
    assert.equal(first.status, 0, first.stderr);
    const other = await plug(commandFor(out, { 'total-steps': 3 }));
    assert.equal(other.status, 2);
    assert.match(other.stderr, /totalSteps = 2, now it is 3\. Use the same settings/);
  });
});
