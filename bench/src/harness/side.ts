// A side of a comparison as a process of its own that stays alive: one JSON request on a line of its stdin, one
// JSON reply on a line of its stdout. Between requests it waits and takes no time from the other side.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { BenchmarkError } from './harness.js';

export type Reply = Record<string, number | number[]>;

/** One side, seen from the benchmark. */
export class Side implements AsyncDisposable {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #exit: Promise<string>;
  #errors = '';

  constructor(name: string, command: string, args: readonly string[]) {
    this.#name = name;
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#child.stderr!.on('data', (chunk) => {
      this.#errors = (this.#errors + String(chunk)).slice(-4000);
    });
    // A side that is gone already is reported by the missing reply.
    this.#child.stdin!.on('error', () => {});
    this.#exit = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message));
      this.#child.on('close', (code, signal) => resolve(`it ended with ${signal ?? `status ${code}`}`));
    });
  }

  /** @throws BenchmarkError when the side ends without a reply; its stderr is in the text */
  async ask(request: { do: string } & Record<string, number | string>): Promise<Reply> {
    this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    const line = await this.#lines.next();
    if (!line.done) return JSON.parse(line.value) as Reply;
    throw new BenchmarkError(
      `${this.#name} gave no answer to "${request.do}": ${await this.#exit}.\n${this.#errors.trim()}`,
    );
  }

  /** One number of the reply. */
  async number(request: { do: string } & Record<string, number | string>, field: string): Promise<number> {
    return (await this.ask(request))[field] as number;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    await this.#exit;
  }
}

/** Sides that end together, however many were started. */
export class Sides implements AsyncDisposable {
  readonly #started: Side[] = [];

  add(side: Side): Side {
    this.#started.push(side);
    return side;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#started.map((side) => side[Symbol.asyncDispose]()));
  }
}

/** Starts a side that is written here: a built file, by its path under `src`, given the case to work on. */
export function ourSide(file: string, casePath: string, ...args: string[]): Side {
  const path = fileURLToPath(new URL(`../${file}`, import.meta.url));
  return new Side(file, process.execPath, [path, casePath, ...args]);
}

/** Answers requests until stdin ends; the other end of `Side`. */
export async function answer(
  handlers: Record<string, (request: Reply) => Reply | Promise<Reply>>,
): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as Reply & { do: string };
    const handler = handlers[request.do];
    if (!handler) throw new BenchmarkError(`Unknown request "${request.do}".`);
    process.stdout.write(`${JSON.stringify(await handler(request))}\n`);
  }
}
