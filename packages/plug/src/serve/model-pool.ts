// The models that a server knows, of which as many are loaded as its memory allows. One that is asked for and not loaded
// waits for room: idle models make it first, the least recently used first; of models in use some take no new requests
// until they are idle. So whoever has waited longest gets in, and no request that has begun loses its model.
import { ConfigError } from '../errors.js';
import { describeModel, type ModelDescription } from './describe-model.js';
import { RequestError, shuttingDown } from './errors.js';
import { HostedModel } from './hosted-model.js';
import type { HostingListener, HostingOptions } from './hosting.js';
import type { HostedModelInfo } from './messages.js';

/** Events for metrics and the log. */
export interface PoolListener extends HostingListener {
  onLoad?(model: string): void;
  onUnload?(model: string): void;
}

export interface PoolOptions {
  /** How every model is hosted. */
  readonly hosting: Omit<HostingOptions, 'name' | 'folder'>;
  /** Of all models that are loaded; undefined for no limit. */
  readonly memoryBytes: number | undefined;
  readonly listener?: PoolListener;
}

/** A model that requests can ask for. */
export interface ServedModel {
  readonly name: string;
  /** The model or run folder that was given. */
  readonly folder: string;
  readonly info: HostedModelInfo;
  /** The run that a client had loaded; undefined for models named at the start, which stay. */
  readonly run: string | undefined;
  /** Its process, while it is loaded. */
  readonly hosted: HostedModel | undefined;
  /** Memory that it takes when it is loaded. */
  readonly bytes: number;
}

/** Keeps a model loaded until it is released. */
export interface Lease {
  readonly model: HostedModel;
  release(): void;
}

interface Waiter {
  admit(): void;
  fail(error: Error): void;
}

class PooledModel implements ServedModel {
  readonly name: string;
  readonly folder: string;
  readonly info: HostedModelInfo;
  readonly run: string | undefined;
  bytes: number;
  hosted: HostedModel | undefined;
  state: 'unloaded' | 'loading' | 'loaded' | 'unloading' = 'unloaded';
  /** Takes no new requests, to make room. */
  isLeaving = false;
  users = 0;
  lastUse = 0;
  readonly waiters = new Set<Waiter>();
  /** Set once it is to be forgotten; kept when it is gone. */
  gone: Promise<void> | undefined;
  onGone = (): void => {};

  constructor(name: string, folder: string, run: string | undefined, { info, bytes }: ModelDescription) {
    this.name = name;
    this.folder = folder;
    this.run = run;
    this.info = info;
    this.bytes = bytes;
  }
}

export class ModelPool {
  readonly #options: PoolOptions;
  readonly #limit: number;
  /** In the order in which they were named; also those that are forgotten and not gone yet. */
  #all: PooledModel[] = [];
  /** Models that somebody waits for, in the order of the first who does. */
  #queue: PooledModel[] = [];
  #loading: Promise<void> | undefined;
  #uses = 0;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#limit = options.memoryBytes ?? Number.POSITIVE_INFINITY;
  }

  get models(): readonly ServedModel[] {
    return this.#all.filter(({ gone }) => !gone);
  }

  find(name: string): ServedModel | undefined {
    return this.models.find((model) => model.name === name);
  }

  /**
   * Makes a model known, without loading it.
   * @param run for one that may be forgotten again
   * @throws ConfigError when the folder holds no model, the name is taken, or the model never fits the memory
   * @throws CheckpointError when a file is damaged
   */
  add(name: string, folder: string, run?: string): ServedModel {
    if (this.find(name))
      throw new ConfigError(`Two models have the name "${name}". Name them: --model NAME=FOLDER.`);
    const description = describeModel({ ...this.#options.hosting, folder });
    if (description.bytes > this.#limit)
      throw new ConfigError(
        `Model "${name}" takes ${mebibytes(description.bytes)} MiB in ${description.info.precision} with a batch of ` +
          `${description.info.maxRows} texts, --memory-mb is ${mebibytes(this.#limit)}. Raise it, or lower --batch-size, ` +
          '--cache-mb or --precision.',
      );
    const model = new PooledModel(name, folder, run, description);
    this.#all.push(model);
    return model;
  }

  /** Loads all models, or with a limit the first. @throws RequestError with the reason when one cannot be loaded */
  async warmUp(signal: AbortSignal): Promise<void> {
    const warm = this.#limit === Number.POSITIVE_INFINITY ? this.models : this.models.slice(0, 1);
    for (const model of warm) (await this.acquire(model, signal)).release();
  }

  /**
   * The process of a model, loaded first if need be; it stays until the lease is released.
   * @throws RequestError 503 when there is no room before the signal is aborted, or with what fails in loading
   */
  async acquire(served: ServedModel, signal: AbortSignal): Promise<Lease> {
    const model = served as PooledModel;
    signal.throwIfAborted();
    if (this.#isClosed) throw shuttingDown();
    if (model.gone) throw forgotten(model);
    if (model.state === 'loaded' && !model.isLeaving) return this.#lease(model);
    return await new Promise((resolve, reject) => {
      const end = (): void => {
        model.waiters.delete(waiter);
        signal.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        waiter.fail(lateError(model, signal.reason));
        this.#advance(); // nobody else may need the room
      };
      const waiter: Waiter = {
        admit: () => {
          end();
          resolve(this.#lease(model));
        },
        fail: (error) => {
          end();
          reject(error);
        },
      };
      signal.addEventListener('abort', onAbort);
      model.waiters.add(waiter);
      this.#advance();
    });
  }

  /** Takes no new requests for a model, and unloads it after those that have begun. */
  async forget(served: ServedModel): Promise<void> {
    const model = served as PooledModel;
    if (!model.gone) {
      model.gone = new Promise((resolve) => {
        model.onGone = resolve;
      });
      for (const { fail } of [...model.waiters]) fail(forgotten(model));
      this.#advance();
    }
    await model.gone;
  }

  /** Ends all processes; requests that are not answered yet fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { fail } of this.#all.flatMap(({ waiters }) => [...waiters])) fail(shuttingDown());
    await this.#loading;
    await Promise.all(this.#all.map(({ hosted }) => hosted?.close()));
    for (const { onGone } of this.#all) onGone();
  }

  #lease(model: PooledModel): Lease {
    let isHeld = true;
    model.users++;
    model.lastUse = ++this.#uses;
    return {
      model: model.hosted!,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        model.users--;
        model.lastUse = ++this.#uses;
        this.#advance();
      },
    };
  }

  /** After every change: lets in whom it can, and makes room for who has waited longest. */
  #advance(): void {
    if (this.#isClosed) return;
    const isQueued = new Set(this.#queue);
    const waitedFor = this.#all.filter(({ waiters }) => waiters.size > 0);
    this.#queue = [...this.#queue, ...waitedFor.filter((model) => !isQueued.has(model))].filter(
      ({ waiters }) => waiters.size > 0,
    );
    for (const model of this.#all) model.isLeaving = false;
    // Whoever asked for a loaded model before another was wanted need not wait for that.
    while (this.#queue[0]?.state === 'loaded') admit(this.#queue.shift()!);
    const next = this.#loading ? undefined : this.#queue[0];
    if (next) for (const model of this.#leaversFor(next)) model.isLeaving = true;
    for (const model of this.#all) {
      if (model.state !== 'loaded') continue;
      if (!model.isLeaving) admit(model);
      if (model.users === 0 && (model.isLeaving || model.gone)) void this.#unload(model);
    }
    this.#all = this.#all.filter((model) => {
      const isGone = model.gone !== undefined && model.state === 'unloaded';
      if (isGone) model.onGone();
      return !isGone;
    });
    if (next?.state === 'unloaded' && this.#fits(next)) this.#loading = this.#load(next);
  }

  /** Models that have to go before another fits: idle ones first, of those and of the others the least recently used. */
  #leaversFor(next: PooledModel): PooledModel[] {
    const rank = ({ users, lastUse }: PooledModel): number => (users > 0 ? this.#uses : 0) + lastUse;
    const loaded = this.#all.filter(({ state }) => state === 'loaded').sort((a, b) => rank(a) - rank(b));
    let excess = bytesOf(loaded) + next.bytes - this.#limit;
    return loaded.filter(({ bytes }) => {
      const goes = excess > 0;
      if (goes) excess -= bytes;
      return goes;
    });
  }

  /** One alone always does: what it was measured to take may be more than was reckoned. */
  #fits(next: PooledModel): boolean {
    const held = this.#all.filter(({ state }) => state !== 'unloaded');
    return held.length === 0 || bytesOf(held) + next.bytes <= this.#limit;
  }

  async #load(model: PooledModel): Promise<void> {
    const { hosting, listener } = this.#options;
    const { name, folder } = model;
    model.state = 'loading';
    try {
      model.hosted = await HostedModel.start({ ...hosting, name, folder }, listener);
      model.bytes = Math.max(model.bytes, model.hosted.residentBytes);
      model.state = 'loaded';
      listener?.onLoad?.(name);
    } catch (error) {
      model.state = 'unloaded';
      for (const { fail } of [...model.waiters]) fail(error as Error);
    }
    this.#loading = undefined;
    this.#advance();
  }

  async #unload(model: PooledModel): Promise<void> {
    model.state = 'unloading';
    const { hosted } = model;
    model.hosted = undefined;
    await hosted!.close();
    model.state = 'unloaded';
    this.#options.listener?.onUnload?.(model.name);
    this.#advance();
  }
}

function admit({ waiters }: PooledModel): void {
  for (const waiter of [...waiters]) waiter.admit();
}

function bytesOf(models: readonly PooledModel[]): number {
  return models.reduce((sum, { bytes }) => sum + bytes, 0);
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}

function forgotten({ name }: ServedModel): RequestError {
  return new RequestError(404, `Model "${name}" was unloaded.`, { code: 'model_not_found', param: 'model' });
}

/** Why a request that waited did not get its model: its time was over, or its client went away. */
function lateError({ name, state }: PooledModel, reason: unknown): Error {
  if (!(reason instanceof RequestError) || reason.statusCode !== 504) return reason as Error;
  if (state === 'loading')
    return new RequestError(503, `Model "${name}" is still being loaded. Try again in a moment.`, {
      code: 'model_loading',
      retryAfterSeconds: 2,
    });
  return new RequestError(
    503,
    `Model "${name}" is not loaded, and the models in use leave no room for it. Try again later.`,
    { code: 'no_room', retryAfterSeconds: 10 },
  );
}
