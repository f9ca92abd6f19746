import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const commandModule = new URL('./command.js', import.meta.url).href;
const zodModule = import.meta.resolve('zod');

/** A program with one command; `body` is the text of its run function. */
function start(body: string, interruptible = true): ChildProcess {
  const source = `
    import { setTimeout as sleep } from 'node:timers/promises';
    import { z } from ${JSON.stringify(zodModule)};
    import { createProgram, defineCommand } from ${JSON.stringify(commandModule)};
    const program = createProgram('0.0.0');
    defineCommand(program, {
      name: 'work', summary: 'work', schema: z.strictObject({}), examples: [], interruptible: ${interruptible},
      async run({ signal }) { console.log('ready'); ${body} },
      render: (result) => result.text,
    });
    await program.parseAsync(['work'], { from: 'user' });
  `;
  return spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function outcome(child: ChildProcess, whenReady: () => Promise<void>) {
  let [stdout, stderr] = ['', ''];
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  let started: (() => void) | undefined;
  const ready = new Promise<void>((resolve) => {
    started = resolve;
  });
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
    started?.();
  });
  const closed = once(child, 'close') as Promise<[number | null, string | null]>;
  await ready;
  await whenReady();
  const [code, signal] = await closed;
  return { code, signal, stdout: stdout.replace('ready\n', ''), stderr };
}

const UNTIL_STOPPED = 'while (!signal.aborted) await sleep(5);';

describe('interrupts', () => {
  it('lets the job save at the first Ctrl-C, and ends with status 130', async () => {
    const child = start(`${UNTIL_STOPPED} await sleep(50); return { text: 'saved; resume with plug work' };`);
    const result = await outcome(child, async () => void child.kill('SIGINT'));
    assert.equal(result.code, 130);
    assert.equal(result.stdout, 'saved; resume with plug work\n');
    assert.match(result.stderr, /being saved.*Ctrl-C again/);
  });

  it('treats the signal that npm passes on a moment later as the same key press', async () => {
    const child = start(`${UNTIL_STOPPED} await sleep(300); return { text: 'saved' };`);
    const result = await outcome(child, async () => {
      child.kill('SIGINT');
      await sleep(50);
      child.kill('SIGINT');
    });
    assert.deepEqual([result.code, result.stdout], [130, 'saved\n']);
  });

  it('ends at once at the second Ctrl-C', async () => {
    const child = start('await sleep(60_000); return { text: "late" };');
    const began = performance.now();
    const result = await outcome(child, async () => {
      child.kill('SIGINT');
      await sleep(500);
      child.kill('SIGINT');
    });
    assert.deepEqual([result.code, result.stdout], [130, '']);
    assert.ok(performance.now() - began < 10_000);
  });

  it('takes the abort that the job throws for an interruption, not for an error', async () => {
    const child = start(`${UNTIL_STOPPED} signal.throwIfAborted();`);
    const result = await outcome(child, async () => void child.kill('SIGTERM'));
    assert.deepEqual([result.code, result.stdout], [130, '']);
    assert.doesNotMatch(result.stderr, /AbortError/);
  });

  it('leaves Ctrl-C to the system in short commands', async () => {
    const child = start('await sleep(60_000); return { text: "late" };', false);
    const result = await outcome(child, async () => void child.kill('SIGINT'));
    assert.equal(result.signal, 'SIGINT');
  });
});
