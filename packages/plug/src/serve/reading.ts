// Embedding, scoring, classifying and explaining: in slices between the steps of those who write, so that a job of many texts
// holds up neither them nor other jobs.
import type { PlugClassifier } from '../finetune/index.js';
import { Turns } from '../generate/index.js';
import type { PlugModel } from '../model/index.js';
import {
  type Classification,
  type Embeddings,
  embed,
  explainClassifier,
  explainLabels,
  labelled,
  labeller,
  type Saliency,
} from '../pipeline/index.js';
import type { Tokenizer } from '../text/index.js';
import type { HostReply, ReadingRequest } from './messages.js';

export interface Reader {
  readonly model: PlugModel;
  readonly tokenizer: Tokenizer;
  /** Present in a process that answers `classify`. */
  readonly classifier: PlugClassifier | undefined;
}

interface Job {
  readonly client: string;
  readonly call: number;
  /** Does a slice at every `next`. */
  readonly work: Generator<void, Answer, undefined>;
}

type Answer = { embedded: Embeddings } | { labelled: readonly Classification[] } | { explained: Saliency };

/** Of one slice: what a step of writing may have to wait for. Larger ones would be hardly faster. */
const tokensPerSlice = 1024;
/** Characters that are split into tokens in the time that one token is encoded in; most of a long text may be cut. */
const charactersPerToken = 32;

export class Reading {
  readonly #reader: Reader;
  readonly #jobs = new Turns<Job>();

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  get isIdle(): boolean {
    return this.#jobs.isEmpty;
  }

  add({ client, call, ...request }: ReadingRequest & { client: string; call: number }): void {
    this.#jobs.add(client, { client, call, work: this.#work(request) });
  }

  cancel(call: number): void {
    this.#jobs.remove((job) => job.call === call);
  }

  /**
   * Does the next slice of the job whose turn it is.
   * @param onError told of what a job cannot do; it is dropped
   * @returns its answer, if that was the last
   */
  step(onError: (call: number, error: unknown) => void): HostReply | undefined {
    const client = this.#jobs.next();
    if (client === undefined) return undefined;
    const job = this.#jobs.take(client);
    try {
      const { done, value } = job.work.next();
      if (done) return { ...value, call: job.call };
      this.#jobs.add(client, job);
    } catch (error) {
      onError(job.call, error);
    }
    return undefined;
  }

  *#work(request: ReadingRequest): Job['work'] {
    const { model, tokenizer, classifier } = this.#reader;
    const cost = (text: string): number =>
      Math.min(text.length, model.config.maxPositionEmbeddings) + text.length / charactersPerToken;
    if ('score' in request) {
      const label = labeller(model, tokenizer, request.options);
      const labelTokens = request.options.labels.join('').length;
      return { labelled: yield* inSlices(request.score, (text) => cost(text) + labelTokens, label) };
    }
    if ('classify' in request) {
      const { task } = classifier!; // the server asks only those that have labels
      const costOf = ({ text, textPair = '' }: (typeof request.classify)[number]): number =>
        cost(text + textPair);
      return {
        labelled: yield* inSlices(request.classify, costOf, (inputs) =>
          classifier!.predict(inputs).map(labelled(task.labels)),
        ),
      };
    }
    if ('explain' in request) {
      const { explain, options } = request;
      // The server asks without options only classifiers.
      return {
        explained: yield* options
          ? explainLabels(model, tokenizer, options, explain)
          : explainClassifier(classifier!, explain),
      };
    }
    let numTokens = 0;
    const vectors = yield* inSlices(request.embed, cost, (texts) => {
      const embedded = embed(model, tokenizer, texts, request.options);
      numTokens += embedded.numTokens;
      return embedded.vectors;
    });
    return { embedded: { vectors, numTokens } };
  }
}

/** Runs parts of a list one after another, and yields in between. */
function* inSlices<Item, Result>(
  items: readonly Item[],
  costOf: (item: Item) => number,
  run: (slice: readonly Item[]) => readonly Result[],
): Generator<void, Result[], undefined> {
  const results: Result[] = [];
  let slice: Item[] = [];
  let cost = 0;
  for (const item of items) {
    const next = costOf(item);
    if (slice.length > 0 && cost + next > tokensPerSlice) {
      results.push(...run(slice));
      yield;
      slice = [];
      cost = 0;
    }
    slice.push(item);
    cost += next;
  }
  results.push(...run(slice));
  return results;
}
