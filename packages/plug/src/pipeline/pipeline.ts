// Models in an application: `const classify = await pipeline('classify', { model })`, then `await classify(text)`.
// Model work runs in a thread of its own, so the event loop stays free, and calls that are waiting go as one batch.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { OpenPlugError } from '@openplug/torch';
import { ConfigError, type PlainError } from '../errors.js';
import type { WorkerReply, WorkerRequest, WorkerStart } from './messages.js';
import type { PipelineInput, PipelineKind, PipelineKinds, PipelineOutput } from './tasks.js';

/** Where the model is, and how it is used. */
export type PipelineOptions<Kind extends PipelineKind> = PipelineKinds[Kind]['options'] & {
  /** Model folder or run folder; for `classify`, `pair`, `choose` and `answer` of `plug finetune`. */
  model: string;
  /** CPU threads. Default: all cores. */
  threads?: number;
};

/** How one call is run. */
export interface CallOptions {
  /** Aborting it makes the call throw the signal's reason; a batch that has begun is finished, and its result dropped. */
  signal?: AbortSignal;
}

/** A loaded model: call it with one input, or with a list. */
export interface Pipeline<Kind extends PipelineKind> extends AsyncDisposable {
  (input: PipelineInput<Kind>, options?: CallOptions): Promise<PipelineOutput<Kind>>;
  (inputs: readonly PipelineInput<Kind>[], options?: CallOptions): Promise<PipelineOutput<Kind>[]>;
  /** Ends the thread and frees the model; calls that wait fail. `await using` does it by itself. */
  close(): Promise<void>;
}

/** Inputs of one batch at most: of more, those that came first go first. */
const inputsPerBatch = 64;

interface Waiting {
  input: unknown;
  resolve(output: unknown): void;
  reject(error: unknown): void;
}

/**
 * Loads a model in a thread of its own.
 * @throws ConfigError when the model was not made for that kind, CheckpointError when its files are damaged
 */
export async function pipeline<Kind extends PipelineKind>(
  kind: Kind,
  { model, threads, ...options }: PipelineOptions<Kind>,
): Promise<Pipeline<Kind>> {
  const start: WorkerStart = { kind, model, options, threads: threads ?? availableParallelism() };
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: start });
  await ready(worker);
  const batches = new Batches(worker);
  const call = async (given: unknown, { signal }: CallOptions = {}): Promise<unknown> => {
    signal?.throwIfAborted();
    const inputs = Array.isArray(given) ? given : [given];
    for (const input of inputs) checkInput(kind, input);
    const outputs = Promise.all(inputs.map((input) => batches.add(input)));
    const all = await (signal ? raceAborted(outputs, signal) : outputs);
    return Array.isArray(given) ? all : all[0];
  };
  const close = (): Promise<void> => batches.close();
  return Object.assign(call, { close, [Symbol.asyncDispose]: close }) as unknown as Pipeline<Kind>;
}

function ready(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      void worker.terminate();
      reject(error);
    };
    worker.once('message', (message: WorkerReply) => {
      if ('failed' in message) fail(restored(message.failed));
      else resolve();
    });
    worker.once('error', fail);
  });
}

/** Collects what is asked for while the worker is busy. */
class Batches {
  readonly #worker: Worker;
  #waiting: Waiting[] = [];
  #running: Waiting[] = [];
  #id = 0;
  #ended: Error | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (message: WorkerReply) => this.#answer(message));
    worker.on('error', (error) => this.#end(error));
    worker.on('exit', () => this.#end(new OpenPlugError('PIPELINE', 'The pipeline is closed.')));
    worker.unref(); // a program whose work is done ends; calls that wait hold it
  }

  add(input: unknown): Promise<unknown> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ input, resolve, reject });
      // Later in this turn more may come; those go along.
      if (this.#waiting.length === 1 && this.#running.length === 0) setImmediate(() => this.#send());
    });
  }

  async close(): Promise<void> {
    this.#end(new OpenPlugError('PIPELINE', 'The pipeline is closed.'));
    await this.#worker.terminate();
  }

  #send(): void {
    if (this.#running.length > 0 || this.#waiting.length === 0 || this.#ended) return;
    this.#running = this.#waiting.splice(0, inputsPerBatch);
    this.#worker.ref();
    const request: WorkerRequest = { id: ++this.#id, inputs: this.#running.map(({ input }) => input) };
    this.#worker.postMessage(request);
  }

  #answer(message: WorkerReply): void {
    if (!('id' in message)) return;
    const done = this.#running;
    this.#running = [];
    this.#worker.unref();
    for (const [index, { resolve, reject }] of done.entries())
      if ('error' in message) reject(restored(message.error));
      else resolve(message.outputs[index]);
    this.#send();
  }

  #end(error: Error): void {
    this.#ended ??= error;
    const left = [...this.#running, ...this.#waiting];
    this.#running = [];
    this.#waiting = [];
    for (const { reject } of left) reject(this.#ended);
  }
}

function restored({ code, message }: PlainError): OpenPlugError {
  return code === 'CONFIG' ? new ConfigError(message) : new OpenPlugError(code, message);
}

function raceAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

const fields: { [Kind in PipelineKind]: readonly string[] } = {
  classify: [],
  label: [],
  generate: [],
  embed: [],
  pair: ['text', 'textPair'],
  choose: ['text', 'candidates'],
  answer: ['question', 'context'],
};

/** One bad input must not fail the batch that it would be part of. */
function checkInput(kind: PipelineKind, input: unknown): void {
  const names = fields[kind];
  const isText = (value: unknown): boolean => typeof value === 'string' && value.trim() !== '';
  if (names.length === 0) {
    if (!isText(input))
      throw new ConfigError(`pipeline "${kind}" takes texts that are not empty, got ${shown(input)}.`);
    return;
  }
  for (const name of names) {
    const value =
      typeof input === 'object' && input !== null ? (input as Record<string, unknown>)[name] : undefined;
    const fits =
      name === 'candidates' ? Array.isArray(value) && value.length > 1 && value.every(isText) : isText(value);
    if (!fits)
      throw new ConfigError(
        `pipeline "${kind}" takes objects with ${names.join(' and ')}: ${name} is ${shown(value)}, expected ` +
          `${name === 'candidates' ? 'a list of two texts or more' : 'a text that is not empty'}.`,
      );
  }
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 60) ?? String(value);
}
