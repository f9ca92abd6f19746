// Continuous batching: texts join the batch when there is room and leave it as soon as they end, so that every step
// of the decoder serves all who wait. What a text is drawn from – its seed and its own settings – does not depend on
// its batch mates.
import { noGrad, scope } from '@openplug/torch';
import { type ForwardOptions, type PlugModel, SlotCache } from '../model/index.js';
import { keyedRandom } from '../random.js';
import type { Tokenizer } from '../text/index.js';
import { type Candidates, draw, nextCandidates, numSampled, TokenRules, Written } from './next-token.js';
import type { Finish } from './sample.js';
import { type GenerationPlan, type GenerationSettings, planGeneration, seedOf } from './settings.js';
import { checkTokenizer, movedSource, type Prompt, type Source, sourceBatch, sourceOf } from './sources.js';
import { TextPieces } from './text-pieces.js';
import { Turns } from './turns.js';

/** A token that might have come instead. */
export interface TokenChoice {
  readonly text: string;
  readonly tokenId: number;
  readonly logProbability: number;
}

/** A token of a text that is being written. */
export interface WrittenToken extends TokenChoice {
  /** Of `Writers.add`. */
  readonly request: number;
  readonly candidate: number;
  readonly finish?: Finish;
  /** The most probable tokens at this place, if they were asked for; this one may be among them. */
  readonly alternatives?: readonly TokenChoice[];
}

/** What is to be written. */
export interface WritingRequest {
  readonly prompt: Prompt;
  /** Sampled: `beams` must be 1. */
  readonly settings: GenerationSettings;
  /** How many of the most probable tokens to tell of at each place; of those that sampling looks at. Default 0. */
  readonly numAlternatives?: number;
  /** Who asks: texts of different clients take turns. Default: all are of one. */
  readonly client?: string;
}

export interface AcceptedRequest {
  readonly id: number;
  readonly sourceTokens: number;
  readonly notes: readonly string[];
}

export interface WritersOptions {
  /** Texts written at a time, and one more while several clients ask. */
  readonly maxRows: number;
  /** For keys and values; fewer texts are written at a time if they do not fit. */
  readonly cacheBytes: number;
  readonly forward?: ForwardOptions;
}

/**
 * Places for texts that each take so many bytes of cache: `maxRows` and one more for whoever has no text in the batch, or
 * as many as fit.
 */
export function fittingRows(
  bytesPerSlot: number,
  { maxRows, cacheBytes }: Pick<WritersOptions, 'maxRows' | 'cacheBytes'>,
): { maxRows: number; numSlots: number } {
  const fitting = Math.max(1, Math.floor(cacheBytes / bytesPerSlot));
  return { maxRows: Math.min(maxRows, fitting), numSlots: Math.min(maxRows + 1, fitting) };
}

/** Source tokens encoded between two steps: more would keep those waiting who are being written. */
const encodedTokensPerStep = 2048;

interface Job {
  readonly id: number;
  readonly client: string;
  readonly plan: GenerationPlan;
  readonly rules: TokenRules;
  readonly source: Source;
  readonly numAlternatives: number;
  /** Candidates that have not begun yet. */
  nextCandidate: number;
}

interface Row {
  readonly job: Job;
  readonly candidate: number;
  readonly seed: number;
  readonly written: Written;
  readonly pieces: TextPieces;
  /** Tokens of this pass; at `passTokens` the source is encoded again. */
  inPass: number;
}

/** Writes texts for many requests together, a token of each at every `step`. */
export class Writers implements Disposable {
  readonly #maxRows: number;
  readonly #numSlots: number;
  readonly #model: PlugModel;
  readonly #tokenizer: Tokenizer;
  readonly #slots: SlotCache;
  readonly #forward: ForwardOptions;
  readonly #waiting = new Turns<Job>();
  /** Row i is row i of the slots. */
  #rows: Row[] = [];
  /** Rows whose window moves on: they have a place, but no slot until they are encoded. */
  #moving: Row[] = [];
  #lastId = 0;

  /**
   * @throws ConfigError when the tokenizer is not the model's
   * @throws ShapeError when the model has no decoder
   */
  constructor(model: PlugModel, tokenizer: Tokenizer, options: WritersOptions) {
    checkTokenizer(tokenizer, model.config);
    const { forward = model.inference } = options;
    const { maxRows, numSlots } = fittingRows(SlotCache.bytesPerSlot(model.config, forward), options);
    this.#maxRows = maxRows;
    this.#numSlots = numSlots;
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.#forward = forward;
    this.#slots = model.newSlots(numSlots, forward);
  }

  /** Texts being written. */
  get numRows(): number {
    return this.#rows.length + this.#moving.length;
  }

  /** Texts that wait for a place. */
  get numWaiting(): number {
    return this.#waiting
      .jobs()
      .reduce((sum, { plan, nextCandidate }) => sum + plan.numCandidates - nextCandidate, 0);
  }

  get isIdle(): boolean {
    return this.numRows === 0 && this.#waiting.isEmpty;
  }

  /**
   * Takes a request on; its tokens come from `step`.
   * @returns its id, the tokens of its source, and what the caller should know, as `Generation.notes`
   * @throws ConfigError for settings that do not fit; TokenizerError for ids outside the vocabulary
   */
  add({ prompt, settings, numAlternatives = 0, client = '' }: WritingRequest): AcceptedRequest {
    const { config } = this.#model;
    const plan = planGeneration({ ...settings, beams: 1 }, config);
    const source = sourceOf(prompt, this.#tokenizer, plan, config);
    const numReal = config.originalVocabSize;
    const numWanted = plan.temperature === 0 ? Math.max(1, numAlternatives) : numSampled(plan, numReal);
    const rules = new TokenRules(plan, this.#tokenizer.special, Math.min(numWanted, numReal), numReal);
    const job: Job = { id: ++this.#lastId, client, plan, rules, source, numAlternatives, nextCandidate: 0 };
    this.#waiting.add(client, job);
    return { id: job.id, sourceTokens: source.ids.length, notes: [...plan.notes, ...source.notes] };
  }

  /** Drops a request at once, wherever it is. */
  cancel(id: number): void {
    this.#waiting.remove((job) => job.id === id);
    this.#moving = this.#moving.filter(({ job }) => job.id !== id);
    for (let row = this.#rows.length - 1; row >= 0; row--)
      if (this.#rows[row]!.job.id === id) this.#remove(row);
  }

  /** Takes in who waits, and writes the next token of each row. Synchronous; gives nothing when there is no work. */
  step(): WrittenToken[] {
    this.#admit();
    if (this.#rows.length === 0) return [];
    const { cls } = this.#tokenizer.special;
    const newest = this.#rows.map(({ inPass, written }) => (inPass === 0 ? cls : written.ids.at(-1)!));
    const candidates = noGrad(() =>
      scope(() =>
        nextCandidates(
          this.#model.nextLogits(newest, this.#slots),
          this.#model.config.originalVocabSize,
          this.#rows.map(({ job: { rules }, written }) => ({ rules, written })),
        ),
      ),
    );
    const tokens: WrittenToken[] = [];
    // From the last to the first, as the last row takes the place of one that leaves.
    for (let row = this.#rows.length - 1; row >= 0; row--) tokens.push(this.#write(row, candidates[row]!));
    return tokens.reverse();
  }

  #write(row: number, candidates: Candidates): WrittenToken {
    const writer = this.#rows[row]!;
    const { job, candidate, seed, written, pieces } = writer;
    const { plan, numAlternatives } = job;
    const place = draw(candidates, plan, () => keyedRandom(seed, written.ids.length));
    const choice = (at: number): Omit<TokenChoice, 'text'> => ({
      tokenId: candidates.ids[at]!,
      logProbability: candidates.rawLogits[at]! - candidates.normalizer,
    });
    const chosen = choice(place);
    const isEnd = chosen.tokenId === this.#tokenizer.special.sep;
    const token = {
      request: job.id,
      candidate,
      ...chosen,
      text: isEnd ? '' : pieces.push(chosen.tokenId),
      ...(numAlternatives > 0 && {
        alternatives: Array.from({ length: Math.min(numAlternatives, candidates.count) }, (_, at) => {
          const other = choice(at);
          return { ...other, text: this.#tokenizer.decode([other.tokenId]) };
        }),
      }),
    };
    writer.inPass++;
    if (!isEnd) written.push(chosen.tokenId);
    const finish = isEnd ? 'end' : written.ids.length === plan.maxLength ? 'length' : undefined;
    if (finish || writer.inPass === plan.passTokens) this.#remove(row);
    if (finish) return { ...token, finish };
    if (writer.inPass === plan.passTokens) this.#moving.push(writer);
    return token;
  }

  #remove(row: number): void {
    this.#slots.remove(row);
    const last = this.#rows.pop()!;
    if (row < this.#rows.length) this.#rows[row] = last;
  }

  /** Encodes those who move on, then those who wait, as far as there is room. */
  #admit(): void {
    const rows: Row[] = [];
    const sources: Source[] = [];
    let room = encodedTokensPerStep;
    const take = (row: Row, source: Source): void => {
      rows.push(row);
      sources.push(source);
      room -= source.ids.length;
    };
    while (this.#moving.length > 0 && room > 0) {
      const row = this.#moving.shift()!;
      row.inPass = 0;
      const { source, plan } = row.job;
      take(row, movedSource(source, row.written.ids, plan.windowTokens, this.#tokenizer.special));
    }
    const numTexts = new Map<string, number>();
    const count = ({ job: { client } }: Pick<Row, 'job'>): void => {
      numTexts.set(client, (numTexts.get(client) ?? 0) + 1);
    };
    for (const row of [...this.#rows, ...this.#moving, ...rows]) count(row);
    while (room > 0) {
      const client = this.#waiting.next((each) => numTexts.get(each) ?? 0);
      if (client === undefined) break;
      const numPlaces = numTexts.has(client) ? this.#maxRows : this.#numSlots;
      if (this.#rows.length + rows.length + this.#moving.length >= numPlaces) break;
      const job = this.#waiting.take(client);
      const candidate = job.nextCandidate++;
      if (job.nextCandidate < job.plan.numCandidates) this.#waiting.add(client, job);
      count({ job });
      take(
        {
          job,
          candidate,
          seed: seedOf(job.plan, 0, candidate),
          written: new Written(job.plan.uniqueNgram),
          pieces: new TextPieces(this.#tokenizer),
          inPass: 0,
        },
        job.source,
      );
    }
    if (rows.length === 0) return;
    noGrad(() =>
      scope(() => {
        const batch = sourceBatch(sources);
        this.#model.fillSlots(this.#slots, this.#model.encode(batch, this.#forward), batch.layout);
      }),
    );
    this.#rows.push(...rows);
  }

  [Symbol.dispose](): void {
    this.#slots[Symbol.dispose]();
  }
}
