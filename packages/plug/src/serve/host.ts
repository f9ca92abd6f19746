// The process of one model: holds it, writes for all requests together, and embeds and scores between steps. A process
// and not a thread, so that whatever happens to native code ends one model and not the server.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setNumThreads } from '@openplug/torch';
import { loadModel, readStoredPrecision, resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError, type PlainError, plainError } from '../errors.js';
import { loadClassifier, type PlugClassifier, readTaskFile } from '../finetune/index.js';
import { Writers, type WrittenToken } from '../generate/index.js';
import type { PlugModel } from '../model/index.js';
import {
  embed,
  explainClassifier,
  explainLabels,
  labelled,
  labeller,
  type Saliency,
} from '../pipeline/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';
import type { HostedToken, HostReply, HostRequest, HostStart } from './messages.js';

function reply(message: HostReply): void {
  if (process.connected) process.send!(message);
}

const plain = (error: unknown): PlainError => plainError(error, 'INTERNAL');

/** What is answered between two steps. */
type OtherRequest = Extract<HostRequest, { embed: unknown } | { score: unknown } | { classify: unknown }>;

class Host {
  readonly #model: PlugModel;
  readonly #tokenizer: Tokenizer;
  readonly #classifier: PlugClassifier | undefined;
  readonly #writers: Writers | undefined;
  /** The server's calls by the writers' requests, and the reverse. */
  readonly #calls = new Map<number, number>();
  readonly #requests = new Map<number, number>();
  /** Embedding and scoring; one is done between two steps. */
  readonly #other: { readonly call: number; run(): void }[] = [];
  #isRunning = false;

  constructor({ folder: path, precision, threads, maxRows, cacheBytes }: HostStart) {
    if (threads !== undefined) setNumThreads(threads);
    const folder = resolveModelFolder(path);
    // What a task has changed no longer writes, even if it still has a decoder.
    if (readTaskFile(folder)?.task.kind === 'classification') this.#classifier = loadClassifier(folder);
    const stored = readStoredPrecision(folder) ?? 'float32';
    this.#model =
      this.#classifier?.model ?? loadModel(folder, { precision: precision === 'auto' ? stored : precision });
    this.#tokenizer = loadTokenizer(folder);
    const { config, precision: packed = 'float32' } = this.#model;
    const canWrite = config.decHiddenLayers > 0 && !this.#classifier;
    if (canWrite) this.#writers = new Writers(this.#model, this.#tokenizer, { maxRows, cacheBytes });
    reply({
      ready: {
        positions: config.maxPositionEmbeddings,
        hiddenSize: config.hiddenSize,
        precision: packed,
        canWrite,
        maxRows: this.#writers?.maxRows ?? 0,
        ...(this.#classifier && {
          labels: this.#classifier.task.labels,
          takesPairs: this.#classifier.task.columns.textPair !== undefined,
        }),
      },
    });
  }

  take(message: HostRequest): void {
    if ('cancel' in message) this.#cancel(message.cancel);
    else if ('write' in message) this.#attempt(message.call, () => this.#write(message));
    else if ('embed' in message || 'score' in message || 'classify' in message) {
      const { call } = message;
      this.#other.push({ call, run: () => reply({ ...this.#answer(message), call }) });
    } else if ('explain' in message) {
      const { call, explain, options } = message;
      // The server asks without options only classifiers.
      this.#attempt(call, () =>
        this.#explain(
          call,
          options
            ? explainLabels(this.#model, this.#tokenizer, options, explain)
            : explainClassifier(this.#classifier!, explain),
        ),
      );
    }
    void this.#run();
  }

  /** A slice at a time, each in its turn among the others. */
  #explain(call: number, work: Iterator<undefined, Saliency>): void {
    const run = (): void => {
      const { done, value } = work.next();
      if (done) reply({ explained: value, call });
      else this.#explain(call, work);
    };
    this.#other.push({ call, run });
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

  #answer(message: OtherRequest) {
    if ('score' in message)
      return { labelled: labeller(this.#model, this.#tokenizer, message.options)(message.score) };
    if ('classify' in message) {
      const classifier = this.#classifier!; // the server asks only those that have labels
      return { labelled: classifier.predict(message.classify).map(labelled(classifier.task.labels)) };
    }
    const vectors = embed(this.#model, this.#tokenizer, message.embed, message.options);
    const tokens = message.embed.reduce((sum, text) => sum + this.#tokenizer.encode(text).length + 2, 0);
    return { embedded: { vectors, tokens } };
  }

  #cancel(call: number): void {
    const request = this.#requests.get(call);
    if (request === undefined) {
      const at = this.#other.findIndex((job) => job.call === call);
      if (at >= 0) this.#other.splice(at, 1);
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
    while (this.#other.length > 0 || this.#writers?.isIdle === false) {
      const job = this.#other.shift();
      if (job) this.#attempt(job.call, () => job.run());
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
