// From logits to the tokens that may come next: the most probable ones are fetched natively, and what is forbidden
// or penalised is settled here on those few. No copy of the vocabulary is made.
import { nn, type Tensor } from '@openplug/torch';
import { CheckpointError, ConfigError } from '../errors.js';
import type { RandomStream } from '../random.js';
import type { Tokenizer } from '../text/index.js';
import type { GenerationPlan } from './settings.js';

/** The tokens that may come next in one row, most probable first; arrays, as there may be a whole vocabulary. */
export interface Candidates {
  readonly count: number;
  readonly ids: Int32Array;
  /** The model's logits. */
  readonly rawLogits: Float64Array;
  /** After the repetition penalty. */
  readonly logits: Float64Array;
  /** Log-sum-exp of all logits: raw logit − normalizer is the model's own log-probability. */
  readonly normalizer: number;
}

/** What a row has written, as far as the rules need it. */
export class Written {
  readonly ids: number[] = [];
  readonly seen = new Set<number>();
  readonly #ngram: number;
  /** Last token of each n-gram so far, by its first n − 1 tokens. */
  readonly #followers = new Map<string, Set<number>>();

  /** @param ngram length of sequences that may not come twice; 0 for none */
  constructor(ngram: number, ids: readonly number[] = []) {
    this.#ngram = ngram;
    for (const id of ids) this.push(id);
  }

  push(id: number): void {
    if (this.#ngram > 0 && this.ids.length + 1 >= this.#ngram) {
      const key = this.#key();
      const followers = this.#followers.get(key) ?? new Set();
      this.#followers.set(key, followers.add(id));
    }
    this.ids.push(id);
    this.seen.add(id);
  }

  /** Tokens that would repeat an n-gram. */
  repeating(): ReadonlySet<number> {
    return (this.#ngram > 0 && this.#followers.get(this.#key())) || new Set();
  }

  #key(): string {
    return this.#ngram === 1 ? '' : this.ids.slice(1 - this.#ngram).join(' ');
  }
}

/** The most probable tokens of one row, largest logit first. */
interface TopTokens {
  readonly logits: ArrayLike<number>;
  readonly ids: ArrayLike<number>;
  readonly count: number;
  readonly normalizer: number;
}

/** Which tokens may be written, by the settings of one call. */
export class TokenRules {
  readonly #plan: GenerationPlan;
  readonly #numReal: number;
  readonly #end: number;
  readonly #never: ReadonlySet<number>;
  readonly #wanted: number;

  /**
   * @param wanted candidates needed for each row, after those that are forbidden
   * @param numReal entries of the vocabulary; logits past them are padding and never chosen
   */
  constructor(plan: GenerationPlan, special: Tokenizer['special'], wanted: number, numReal: number) {
    this.#plan = plan;
    this.#numReal = numReal;
    this.#end = special.sep;
    this.#never = new Set([special.pad, special.unk, special.cls, special.mask]);
    this.#wanted = wanted;
  }

  /** As `nextCandidates`, where all rows follow these rules. */
  candidates(logits: Tensor, rows: readonly Written[]): Candidates[] {
    return nextCandidates(
      logits,
      this.#numReal,
      rows.map((written) => ({ rules: this, written })),
    );
  }

  /** The most probable tokens among which all are that may be wanted of a row: what falls out, falls only further. */
  numNeeded(written: Written): number {
    const penalised = this.#penalises ? written.seen.size : 0;
    return this.#wanted + this.#never.size + 1 + written.repeating().size + penalised;
  }

  /**
   * Of the most probable tokens of one row those that may be written: as many as wanted, or all that there are.
   * @throws ConfigError when no token at all may be written
   */
  allowed(top: TopTokens, written: Written): Candidates {
    const found = this.#allowed(top, written, written.repeating());
    if (found.count > 0) return found;
    // Every other token would repeat an n-gram: rather repeat than write nothing.
    const repeated = this.#allowed(top, written, new Set());
    if (repeated.count > 0) return repeated;
    throw new ConfigError('The vocabulary has no entry that may be written besides special tokens.');
  }

  get #penalises(): boolean {
    return this.#plan.repetitionPenalty > 1;
  }

  #allowed(
    { logits: top, ids, count, normalizer }: TopTokens,
    { seen, ids: written }: Written,
    repeating: ReadonlySet<number>,
  ): Candidates {
    const mayEnd = written.length >= this.#plan.minLength;
    const most = Math.min(this.#wanted, count);
    const found = {
      count: 0,
      ids: new Int32Array(most),
      rawLogits: new Float64Array(most),
      logits: new Float64Array(most),
      normalizer,
    };
    const take = (id: number, raw: number, logit: number): void => {
      if (found.count === most) return;
      found.ids[found.count] = id;
      found.rawLogits[found.count] = raw;
      found.logits[found.count++] = logit;
    };
    const mayFollow = (id: number): boolean =>
      !this.#never.has(id) && !repeating.has(id) && (id !== this.#end || mayEnd);
    // Those that are penalised get an order of their own; the two orders are merged.
    const lowered: { id: number; raw: number; logit: number }[] = [];
    for (let place = 0; this.#penalises && place < count; place++) {
      const [id, raw] = [ids[place]!, top[place]!];
      if (!seen.has(id) || !mayFollow(id)) continue;
      lowered.push({ id, raw, logit: penalised(raw, this.#plan.repetitionPenalty) });
    }
    lowered.sort((a, b) => b.logit - a.logit || a.id - b.id);
    let next = 0;
    for (let place = 0; place < count && found.count < most; place++) {
      const [id, raw] = [ids[place]!, top[place]!];
      if (!mayFollow(id) || (this.#penalises && seen.has(id))) continue;
      for (; next < lowered.length && lowered[next]!.logit > raw; next++)
        take(lowered[next]!.id, lowered[next]!.raw, lowered[next]!.logit);
      take(id, raw, raw);
    }
    for (; next < lowered.length; next++) take(lowered[next]!.id, lowered[next]!.raw, lowered[next]!.logit);
    return found;
  }
}

/**
 * The candidates of each row by its own rules, most probable first.
 * @param logits [B, V]
 * @param numReal entries of the vocabulary; logits past them are padding
 * @throws CheckpointError when the logits are not numbers; ConfigError when no token at all may be written
 */
export function nextCandidates(
  logits: Tensor,
  numReal: number,
  rows: readonly { readonly rules: TokenRules; readonly written: Written }[],
): Candidates[] {
  const count = Math.min(numReal, Math.max(...rows.map(({ rules, written }) => rules.numNeeded(written))));
  const found = nn.candidates(logits, numReal, count);
  const top = found.logits.toTypedArray() as Float32Array | Float64Array;
  const ids = found.ids.toTypedArray() as Int32Array;
  const normalizers = found.normalizers.toTypedArray() as Float32Array | Float64Array;
  return rows.map(({ rules, written }, row) => {
    const normalizer = normalizers[row]!;
    if (!Number.isFinite(normalizer))
      throw new CheckpointError(
        `The model's logits are not finite numbers (log-sum-exp ${normalizer}): its weights are damaged, or overflow in half precision.`,
      );
    return rules.allowed(
      { logits: top.subarray(row * count), ids: ids.subarray(row * count), count, normalizer },
      written,
    );
  });
}

/**
 * The penalty of CTRL (Keskar et al. 2019, arXiv 1909.05858, §4.1): the logit of a token already written is divided
 * by θ. A negative one is multiplied instead, since dividing would raise it.
 */
export function penalised(logit: number, theta: number): number {
  return logit > 0 ? logit / theta : logit * theta;
}

/** How many candidates sampling looks at. */
export function numSampled({ temperature, topK }: GenerationPlan, numReal: number): number {
  if (temperature === 0) return 1;
  return topK === 0 ? numReal : Math.min(topK, numReal);
}

/**
 * Draws one of the candidates and gives its place: temperature, then top-p over what top-k left (nucleus sampling,
 * Holtzman et al. 2020, arXiv 1904.09751). Takes one number from `random`, none when greedy.
 */
export function draw(
  { count, logits }: Pick<Candidates, 'count' | 'logits'>,
  { temperature, topP }: Pick<GenerationPlan, 'temperature' | 'topP'>,
  random: () => Pick<RandomStream, 'uniform'>,
): number {
  if (temperature === 0 || count === 1) return 0;
  const weights = new Float64Array(count);
  let total = 0;
  for (let place = 0; place < count; place++) {
    weights[place] = Math.exp((logits[place]! - logits[0]!) / temperature);
    total += weights[place]!;
  }
  let kept = count;
  if (topP < 1) {
    const wanted = topP * total;
    total = 0;
    kept = 0;
    while (kept < count && total < wanted) total += weights[kept++]!;
  }
  let left = random().uniform() * total;
  for (let place = 0; place < kept; place++) {
    left -= weights[place]!;
    if (left < 0) return place;
  }
  return kept - 1; // rounding used up the last bit of probability
}
