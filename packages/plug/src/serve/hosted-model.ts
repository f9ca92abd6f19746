// A model in a process of its own, as the server sees it: calls go in, tokens and results come out; a process that dies
// fails its calls and is started again.
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WritingRequest } from '../generate/index.js';
import type {
  Classification,
  EmbeddingOptions,
  Embeddings,
  LabelOptions,
  Saliency,
  SaliencyInput,
} from '../pipeline/index.js';
import { Arrivals } from './arrivals.js';
import { modelError, RequestError, shuttingDown } from './errors.js';
import type { Accepted, Caller, HostingListener, HostingOptions } from './hosting.js';
import type { ClassifierInput, HostedToken, HostReply, HostRequest, ReadingRequest } from './messages.js';

interface Call {
  readonly client: string;
  take(reply: HostReply): void;
  fail(error: Error): void;
}

const startsAtMost = 5;
const longestPauseMs = 30_000;

export class HostedModel {
  readonly name: string;
  readonly #options: HostingOptions;
  readonly #listener: HostingListener;
  readonly #calls = new Map<number, Call>();
  #process: ChildProcess | undefined;
  #isReady = false;
  #residentBytes = 0;
  #lastCall = 0;
  #isClosed = false;
  #rows = 0;
  #waiting = 0;

  private constructor(options: HostingOptions, listener: HostingListener) {
    this.name = options.name;
    this.#options = options;
    this.#listener = listener;
  }

  /**
   * Starts the process and waits until the model is loaded.
   * @throws RequestError with the reason when it cannot be loaded
   */
  static async start(options: HostingOptions, listener: HostingListener = {}): Promise<HostedModel> {
    const model = new HostedModel(options, listener);
    await model.#start();
    return model;
  }

  /** False while the process is started again. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Memory of the process when the model had been loaded. */
  get residentBytes(): number {
    return this.#residentBytes;
  }

  /** Calls being answered or waiting. */
  get numCalls(): number {
    return this.#calls.size;
  }

  /** Of the model's process; it may be killed at any time. */
  get processId(): number | undefined {
    return this.#process?.pid;
  }

  /** Texts being written, and those waiting for a place, at the last step. */
  get load(): { rows: number; waiting: number } {
    return { rows: this.#rows, waiting: this.#waiting };
  }

  /**
   * Writes; the first value tells about the source, the others are tokens in the order in which they were written.
   * Leaving the loop, or aborting, takes the text out of the batch at once.
   */
  async *write(
    request: Omit<WritingRequest, 'client'>,
    { client, signal }: Caller,
  ): AsyncGenerator<Accepted | HostedToken, void, undefined> {
    const numTexts = request.settings.numCandidates ?? 1;
    let numEnded = 0;
    const arrivals = new Arrivals<Accepted | HostedToken>();
    const { call, leave } = this.#open((id) => ({ write: { ...request, client }, call: id }), signal, {
      client,
      take: (reply) => {
        if ('accepted' in reply) arrivals.push({ sourceTokens: reply.sourceTokens, notes: reply.notes });
        else if ('tokens' in reply)
          for (const [id, token] of reply.tokens) if (id === call) arrivals.push(token);
      },
      fail: (error) => arrivals.fail(error),
    });
    const started = performance.now();
    let isFirst = true;
    try {
      while (numEnded < numTexts) {
        const next = await arrivals.next();
        if ('tokenId' in next && isFirst) {
          isFirst = false;
          this.#listener.onFirstToken?.(this.name, (performance.now() - started) / 1000);
        }
        if ('finish' in next && next.finish) numEnded++;
        yield next;
      }
    } finally {
      leave();
    }
  }

  async embed(texts: readonly string[], options: EmbeddingOptions, caller: Caller): Promise<Embeddings> {
    const reply = await this.#ask({ embed: texts, options }, caller);
    return (reply as Extract<HostReply, { embedded: unknown }>).embedded;
  }

  /** Labels of each text by how probable the decoder finds their words. */
  async score(
    texts: readonly string[],
    options: LabelOptions,
    caller: Caller,
  ): Promise<readonly Classification[]> {
    const reply = await this.#ask({ score: texts, options }, caller);
    return (reply as Extract<HostReply, { labelled: unknown }>).labelled;
  }

  /** By a fine-tuned classifier; `info.labels` are its labels. */
  async classify(inputs: readonly ClassifierInput[], caller: Caller): Promise<readonly Classification[]> {
    const reply = await this.#ask({ classify: inputs }, caller);
    return (reply as Extract<HostReply, { labelled: unknown }>).labelled;
  }

  /** Which characters mattered: for the classifier's label, or with `options` for one of those labels. */
  async explain(input: SaliencyInput, options: LabelOptions | undefined, caller: Caller): Promise<Saliency> {
    const reply = await this.#ask({ explain: input, options }, caller);
    return (reply as Extract<HostReply, { explained: unknown }>).explained;
  }

  /** Ends the process; calls that are not answered yet fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#failAll(shuttingDown());
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.kill('SIGKILL'); // it holds nothing that could be lost
    });
  }

  async #ask(request: ReadingRequest, { client, signal }: Caller): Promise<HostReply> {
    return await new Promise<HostReply>((resolve, reject) => {
      const { leave } = this.#open((call) => ({ ...request, client, call }), signal, {
        client,
        take: (reply) => {
          leave();
          resolve(reply);
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      });
    });
  }

  /**
   * Begins a call. Whoever opened it has to leave it, which takes it out of the process; an abort does so at once, as
   * whoever was to read on may be gone.
   */
  #open(
    request: (call: number) => HostRequest,
    signal: AbortSignal,
    handlers: Call,
  ): { call: number; leave(): void } {
    signal.throwIfAborted();
    if (!this.#isReady)
      throw new RequestError(503, `Model "${this.name}" is being loaded. Try again in a moment.`, {
        code: 'model_loading',
        retryAfterSeconds: 2,
      });
    if (this.#isFullFor(handlers.client))
      throw new RequestError(
        429,
        `Model "${this.name}" has ${this.#calls.size} requests already. Try again in a moment.`,
        { type: 'rate_limit_error', code: 'overloaded', retryAfterSeconds: 1 },
      );
    const call = ++this.#lastCall;
    const leave = (): void => {
      signal.removeEventListener('abort', onAbort);
      // Also after the last token: the process forgets the call.
      if (this.#calls.delete(call)) this.#send({ cancel: call });
    };
    const onAbort = (): void => {
      leave();
      handlers.fail(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort);
    this.#calls.set(call, handlers);
    this.#send(request(call));
    return { call, leave };
  }

  /** A flood of one client's calls leaves to others their share of the places. */
  #isFullFor(client: string): boolean {
    const { maxCalls } = this.#options;
    if (this.#calls.size < maxCalls) return false;
    const clients = [...this.#calls.values()].map((call) => call.client);
    const numOwn = clients.filter((other) => other === client).length;
    return numOwn >= Math.floor(maxCalls / new Set([...clients, client]).size);
  }

  #send(message: HostRequest): void {
    if (this.#process?.connected) this.#process.send(message, () => {}); // a death is told by 'exit'
  }

  #failAll(error: Error): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { fail } of calls) fail(error);
  }

  #start(): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = fork(new URL('./host.js', import.meta.url), {
        serialization: 'advanced',
        stdio: 'inherit',
        // Threads that wait by spinning would take the cores from the event loop beside them.
        env: { OMP_WAIT_POLICY: 'passive', ...process.env },
      });
      this.#process = child;
      child.on('message', (reply: HostReply) => {
        if ('ready' in reply) {
          this.#isReady = true;
          this.#residentBytes = reply.ready.residentBytes;
          resolve();
        } else if ('failed' in reply) {
          reject(modelError(reply.failed));
          child.kill('SIGKILL');
        } else this.#take(reply);
      });
      child.on('error', reject);
      child.on('exit', (status, signal) => {
        const reason = signal ?? `status ${status}`;
        reject(new RequestError(503, `The process of model "${this.name}" ended (${reason}) while loading.`));
        if (this.#isReady) this.#ended(reason);
      });
      this.#send({ start: this.#options });
    });
  }

  #take(reply: HostReply): void {
    if ('tokens' in reply) {
      this.#rows = reply.rows;
      this.#waiting = reply.waiting;
      this.#listener.onStep?.(this.name, reply.rows, reply.tokens.length);
      for (const call of new Set(reply.tokens.map(([id]) => id))) this.#calls.get(call)?.take(reply);
    } else if ('accepted' in reply) this.#calls.get(reply.accepted)?.take(reply);
    else if ('error' in reply) this.#calls.get(reply.call)?.fail(modelError(reply.error));
    else if ('call' in reply) this.#calls.get(reply.call)?.take(reply);
  }

  /** The process died at work. */
  #ended(reason: string): void {
    this.#isReady = false;
    this.#rows = 0;
    this.#waiting = 0;
    this.#failAll(
      new RequestError(503, `The process of model "${this.name}" ended (${reason}) and is started again.`, {
        code: 'model_restarting',
        retryAfterSeconds: 2,
      }),
    );
    if (this.#isClosed) return;
    this.#listener.onExit?.(this.name, reason);
    void this.#restart();
  }

  async #restart(): Promise<void> {
    for (let attempt = 1; !this.#isClosed && attempt <= startsAtMost; attempt++) {
      try {
        await this.#start();
        return;
      } catch (error) {
        this.#listener.onExit?.(this.name, (error as Error).message);
        await sleep(Math.min(longestPauseMs, 500 * 2 ** attempt));
      }
    }
  }
}
