// The metrics of one run, thinned while they are read: however long it trains, about a thousand points of it are kept.
import { JsonLinesReader } from './json-lines.js';

const maxPoints = 1024;

/** Numbers of one place of a curve; which there are depends on the stage. */
export interface MetricsPoint {
  /** The last step that it stands for. */
  step: number;
  /** Time spent in training steps until then; evaluations and saving are not in it. */
  seconds: number;
  [name: string]: number;
}

/** The sums of neighbouring steps, of which a point is the mean. */
interface Bucket {
  step: number;
  seconds: number;
  sums: Map<string, { sum: number; count: number }>;
}

/** What a run has measured so far. */
export class RunMetrics {
  /** Training steps that one point is the mean of: the k-th point holds steps (k − 1) · stride + 1 to k · stride. */
  stride = 1;
  #buckets: Bucket[] = [];
  #evaluations: MetricsPoint[] = [];
  #seconds = 0;
  readonly #reader: JsonLinesReader;

  /** @param path metrics.jsonl of a run */
  constructor(path: string) {
    this.#reader = new JsonLinesReader(
      path,
      () => {
        this.stride = 1;
        this.#buckets = [];
        this.#evaluations = [];
        this.#seconds = 0;
      },
      (line) => this.#take(line),
    );
  }

  get lastStep(): number {
    return this.#buckets.at(-1)?.step ?? 0;
  }

  /** Reads what is new in the file. */
  update(): Promise<void> {
    return this.#reader.update();
  }

  /** Points that end after a step, the last one with what there is of it; and evaluations after that step. */
  after(step: number): { points: MetricsPoint[]; evaluations: MetricsPoint[] } {
    const isAfter = (point: { step: number }): boolean => point.step > step;
    return {
      points: this.#buckets.filter(isAfter).map(meanOf),
      evaluations: this.#evaluations.filter(isAfter),
    };
  }

  #take({ kind, step, ...values }: Record<string, unknown>): void {
    if (typeof step !== 'number' || !Number.isSafeInteger(step) || step < 1) return;
    if (kind === 'train' && step > this.lastStep) this.#takeStep(step, finite(values));
    if (kind === 'evaluate') {
      this.#evaluations.push({ ...rounded(finite(values)), step, seconds: short(this.#seconds) });
      if (this.#evaluations.length > maxPoints)
        this.#evaluations = this.#evaluations.filter((_, index) => index % 2 === 0);
    }
  }

  #takeStep(step: number, values: Record<string, number>): void {
    this.#seconds += secondsOf(values);
    const sums = new Map(Object.entries(values).map(([name, sum]) => [name, { sum, count: 1 }]));
    this.#add({ step, seconds: this.#seconds, sums });
    while (this.#buckets.length > maxPoints) {
      const finer = this.#buckets;
      this.#buckets = [];
      this.stride *= 2;
      for (const bucket of finer) this.#add(bucket);
    }
  }

  #add({ step, seconds, sums }: Bucket): void {
    const last = this.#buckets.at(-1);
    const place = (at: number): number => Math.ceil(at / this.stride);
    if (!last || place(last.step) !== place(step)) {
      this.#buckets.push({ step, seconds, sums });
      return;
    }
    last.step = step;
    last.seconds = seconds;
    for (const [name, { sum, count }] of sums) {
      const before = last.sums.get(name) ?? { sum: 0, count: 0 };
      last.sums.set(name, { sum: before.sum + sum, count: before.count + count });
    }
  }
}

/** How long a training step took, of what its line of metrics says. */
export function secondsOf({ numTokens, tokensPerSecond }: Record<string, number>): number {
  return numTokens !== undefined && tokensPerSecond !== undefined && tokensPerSecond > 0
    ? numTokens / tokensPerSecond
    : 0;
}

/** The finite numbers of a line: a score that could not be reckoned is null there. */
export function finite(values: Record<string, unknown>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number' && Number.isFinite(entry[1]),
    ),
  );
}

function meanOf({ step, seconds, sums }: Bucket): MetricsPoint {
  const means = [...sums].map(([name, { sum, count }]) => [name, sum / count]);
  return { ...rounded(Object.fromEntries(means)), step, seconds: short(seconds) };
}

function rounded(values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, short(value)]));
}

/** Six digits: more than a curve can show, and a third of the bytes. */
function short(value: number): number {
  return Number(value.toPrecision(6));
}
