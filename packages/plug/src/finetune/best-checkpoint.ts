// Which evaluation was the best so far, and when to stop waiting for a better one.
import type { MetricsLine } from '../train/index.js';
import type { FinetuneTask } from './task.js';

/** Follows the evaluations of a run; its whole state comes from their lines, so a continued run has it too. */
export class BestCheckpoint {
  readonly #metric: FinetuneTask['metric'];
  readonly #patience: number;
  #best: MetricsLine | undefined;
  #since = 0;

  /** @param patience evaluations without a new best before `exhausted`; 0 for never */
  constructor(metric: FinetuneTask['metric'], patience: number) {
    this.#metric = metric;
    this.#patience = patience;
  }

  /** Takes the next evaluation; true when it is the best so far. Without a score (no dev set) the last one is. */
  take(line: MetricsLine): boolean {
    const scored = line[this.#metric] !== undefined;
    const isBest = !scored || this.#best === undefined || isBetter(this.#metric, line, this.#best);
    this.#since = isBest ? 0 : this.#since + 1;
    if (isBest) this.#best = line;
    return isBest;
  }

  /** Starts over from the evaluations of an earlier start of the run. */
  replay(lines: readonly MetricsLine[]): void {
    this.#best = undefined;
    this.#since = 0;
    for (const line of lines) if (line.kind === 'evaluate') this.take(line);
  }

  get best(): MetricsLine | undefined {
    return this.#best;
  }

  get exhausted(): boolean {
    return this.#patience > 0 && this.#since >= this.#patience;
  }
}

/** By the metric; of two equals the one with the smaller loss, and the earlier if that is equal too. */
export function isBetter(metric: FinetuneTask['metric'], one: MetricsLine, other: MetricsLine): boolean {
  const [a, b] = [Number(one[metric]), Number(other[metric])];
  if (metric !== 'loss' && a !== b) return a > b;
  return Number(one.loss) < Number(other.loss);
}
