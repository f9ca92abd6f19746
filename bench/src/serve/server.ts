// A served model for the benchmarks: the real command in a process of its own, and clients that stream from it.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { StoredModel } from '../case.js';
import { BenchmarkError } from '../harness/harness.js';
import { keyedRandom, program } from '../openplug.js';
import type { Shape } from '../shapes.js';
import { Client } from './client.js';

/** `plug serve` with a model of a shape. */
export class ServedShape implements AsyncDisposable {
  readonly url: string;
  readonly client: Client;
  /** Where peers find the same model. */
  readonly stored: StoredModel;
  readonly #child: ChildProcess;

  private constructor(url: string, stored: StoredModel, child: ChildProcess) {
    this.url = url;
    this.client = new Client(url);
    this.stored = stored;
    this.#child = child;
  }

  static async start({ config }: Shape, flags: readonly string[] = []): Promise<ServedShape> {
    const stored = new StoredModel(config);
    const parameters = ['serve', '--model', `model=${stored.folder}`, '--port', '0', ...flags];
    const child = spawn(process.execPath, [program, ...parameters], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    for await (const piece of child.stderr!.setEncoding('utf8')) {
      stderr += piece as string;
      const url = /Serving model on (\S+)/.exec(stderr)?.[1];
      if (url) return new ServedShape(url, stored, child);
    }
    stored[Symbol.dispose]();
    throw new BenchmarkError(`plug serve did not start: ${stderr}`);
  }

  /** Resident bytes of the server and of its model's process. */
  residentBytes(): { server: number; model: number } {
    const pid = this.#child.pid!;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    const [model] = children.split(' ').map(Number);
    const resident = (id: number): number =>
      1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))![1]);
    return { server: resident(pid), model: resident(model!) };
  }

  async metric(pattern: RegExp): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    return Number(pattern.exec(text)?.[1]);
  }

  post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    return fetch(this.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(signal && { signal }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.client.close();
    this.#child.kill('SIGTERM');
    await ended;
    this.stored[Symbol.dispose]();
  }
}

/** Prompts of mixed lengths, up to that of the shape; the same for the same seed. */
export function mixedPrompts({ config, promptLength }: Shape, count: number, seed: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const random = keyedRandom(seed, index);
    const length = 1 + Math.floor(random.uniform() * (promptLength - 2));
    const character = (): string =>
      String.fromCodePoint(0x4e00 + Math.floor(random.uniform() * (config.originalVocabSize - 5)));
    return Array.from({ length }, character).join('');
  });
}
