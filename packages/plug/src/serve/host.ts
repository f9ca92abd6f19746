// The process of one model: holds it, writes for all requests together, and reads between steps. A process
// and not a thread, so that whatever happens to native code ends one model and not the server.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setNumThreads } from '@openplug/torch';
import { loadModel, resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError, type PlainError, plainError } from '../errors.js';
import { loadClassifier } from '../finetune/index.js';
import { Writers, type WrittenToken } from '../generate/index.js';
import { loadTokenizer } from '../text/index.js';
import { describeModel } from './describe-model.js';
import type { HostedToken, HostReply, HostRequest, HostStart } from './messages.js';
import { Reading } from './reading.js';

function reply(message: HostReply): void {
  if (process.connected) process.send!(message);
}

const plain = (error: unknown): PlainError => plainError(error, 'INTERNAL');

class Host {
  readonly #writers: Writers | undefined;
  /** The server's calls by the writers' requests, and the reverse. */
  readonly #calls = new Map<number, number>();
  readonly #requests = new Map<number, number>();
  /** A slice of it is done between two steps. */
  readonly #reading: Reading;
  #isRunning = false;

  constructor(start: HostStart) {
    const { folder: path, threads, maxRows, cacheBytes } = start;
    if (threads !== undefined) setNumThreads(threads);
    const folder = resolveModelFolder(path);
    const { labels, canWrite, precision } = describeModel(start).info;
    const classifier = labels && loadClassifier(folder);
    const model = classifier?.model ?? loadModel(folder, { precision });
    const tokenizer = loadTokenizer(folder);
    this.#reading = new Reading({ model, tokenizer, classifier });
    if (canWrite) this.#writers = new Writers(model, tokenizer, { maxRows, cacheBytes });
    reply({ ready: { residentBytes: process.memoryUsage.rss() } });
  }

  take(message: HostRequest): void {
    if ('cancel' in message) this.#cancel(message.cancel);
    else if ('write' in message) this.#attempt(message.call, () => this.#write(message));
    else if ('client' in message) this.#reading.add(message);
    void this.#run();
  }

  #write({ write, call }: Extract<HostRequest, { write: unknown }>): void {
    if (!this.#writers)
      throw new ConfigError(
        'This model is an encoder alone, or a classifier, and writes no text. Ask a model of stage 2.',
      );
    const { id, ...accepted } = this.#writers.add(write);
    this.#calls.set(id, call);
    this.#requests.set(call, id);
    reply({ accepted: call, ...accepted });
  }

  #cancel(call: number): void {
    const request = this.#requests.get(call);
    if (request === undefined) {
      this.#reading.cancel(call);
      return;
    }
    this.#writers!.cancel(request);
    this.#forget(request);
  }

  #forget(request: number): void {
    this.#requests.delete(this.#calls.get(request)!);
    this.#calls.delete(request);
  }

  #attempt(call: number, work: () => void): void {
    try {
      work();
    } catch (error) {
      reply({ call, error: plain(error) });
    }
  }

  /** Works as long as there is work; messages come in between steps. */
  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (!this.#reading.isIdle || this.#writers?.isIdle === false) {
      const answer = this.#reading.step((call, error) => reply({ call, error: plain(error) }));
      if (answer) reply(answer);
      this.#step();
      await nextTurn();
    }
    this.#isRunning = false;
  }

  #step(): void {
    if (!this.#writers || this.#writers.isIdle) return;
    let tokens: WrittenToken[];
    try {
      tokens = this.#writers.step();
    } catch (error) {
      // What a step cannot do it could not do for any of its rows.
      for (const [request, call] of [...this.#calls]) {
        reply({ call, error: plain(error) });
        this.#writers.cancel(request);
        this.#forget(request);
      }
      return;
    }
    const placed = tokens.map(
      ({ request, ...token }) => [this.#calls.get(request)!, token as HostedToken] as const,
    );
    reply({ tokens: placed, rows: this.#writers.numRows, waiting: this.#writers.numWaiting });
  }
}

let host: Host | undefined;
process.on('message', (message: HostRequest) => {
  if ('start' in message) {
    try {
      host = new Host(message.start);
    } catch (error) {
      reply({ failed: plain(error) });
    }
  } else host?.take(message);
});
// The terminal's Ctrl-C reaches the whole group; the server decides when its models end.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());
