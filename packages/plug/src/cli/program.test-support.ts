// Runs the real program for tests.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../bin/plug.js', import.meta.url));

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

/** @param onStderr hears of all of stderr so far, with the process */
export async function plug(
  parameters: string[],
  onStderr?: (text: string, child: ChildProcess) => void,
): Promise<Outcome> {
  const child = spawn(process.execPath, [program, ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    onStderr?.(stderr, child);
  });
  const [status] = (await once(child, 'close')) as [number];
  return { status, stdout, stderr };
}
