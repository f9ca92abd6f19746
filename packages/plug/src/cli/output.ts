// What goes where: results to stdout (with --json exactly one JSON object), everything else to stderr.
import { OpenPlugError } from '../errors.js';

/** Exit statuses of every command. */
export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;

/** Writes a result: one line of JSON, or the text for people. */
export function printResult(result: unknown, { json, text }: { json: boolean; text: () => string }): void {
  const output = json ? JSON.stringify(result) : text();
  if (output !== '') process.stdout.write(output.endsWith('\n') ? output : `${output}\n`);
}

/** Reports an error and returns the exit status that belongs to it. */
export function printError(error: unknown, { json, debug }: { json: boolean; debug: boolean }): number {
  const isForeseen = error instanceof OpenPlugError;
  const message = error instanceof Error ? error.message : String(error);
  const code = isForeseen ? error.code : ((error as NodeJS.ErrnoException | null)?.code ?? 'UNEXPECTED');
  process.stderr.write(`plug: ${message}\n`);
  if (debug && error instanceof Error) process.stderr.write(`${stackOf(error)}\n`);
  else if (!isForeseen) process.stderr.write('This was not foreseen: --debug shows where it happened.\n');
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  return code === 'CONFIG' ? EXIT.usage : EXIT.failure;
}

function stackOf(error: Error): string {
  const own = error.stack ?? error.message;
  return error.cause instanceof Error ? `${own}\ncaused by: ${stackOf(error.cause)}` : own;
}

/** Waits until what was written is out: a pipe may still hold some of it when the process ends. */
export async function flushOutput(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => stream.write('', () => resolve()));
  }
}
