// Generation of text: whole (`generate`) or token by token (`generateStream`).
import type { ForwardOptions, PlugModel } from '../model/index.js';
import type { Tokenizer } from '../text/index.js';
import { beamSearch, type FoundText } from './beam-search.js';
import { DecodingPass } from './decoding-pass.js';
import { type Finish, type SampledToken, sampleRows } from './sample.js';
import { type GenerationPlan, type GenerationSettings, planGeneration, seedOf } from './settings.js';
import { checkTokenizer, type Prompt, type Source, sourceOf } from './sources.js';
import { TextPieces } from './text-pieces.js';

/** How a call is run, as opposed to what it writes. */
export interface GenerateOptions {
  /** Aborting it frees all caches at once and makes the call throw the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Precision of the computation. Default: the model's own, fp32 unless it is packed otherwise. */
  readonly forward?: ForwardOptions;
  /** Told each of the notes (see `Generation`) before the first token; `prompt` is its index, if it concerns one. */
  readonly onNote?: (note: string, prompt?: number) => void;
}

/** One text. */
export interface GeneratedText {
  readonly text: string;
  /** Without the end token. */
  readonly tokenIds: readonly number[];
  readonly finish: Finish;
  /** Sum over tokens, the end token included, under the model itself (temperature 1, nothing cut). */
  readonly logProbability: number;
  /** Sampling: a call with this seed and this prompt alone draws the same text. */
  readonly seed?: number;
  /** Beam search: what the texts are ordered by. */
  readonly score?: number;
}

/** What was written for one prompt. */
export interface Generation {
  /** `numCandidates` texts; from beam search the best first. */
  readonly texts: readonly GeneratedText[];
  /** What the caller should know: a cut prompt, unknown characters, a smaller window. */
  readonly notes: readonly string[];
}

/** One token of a stream. */
export interface GeneratedChunk {
  /** Index of the prompt. */
  readonly prompt: number;
  /** Index among the prompt's candidates. */
  readonly candidate: number;
  readonly tokenId: number;
  /** What the token adds to the text; a text's pieces, joined, are its `text`. */
  readonly text: string;
  /** Under the model itself (temperature 1, nothing cut). */
  readonly logProbability: number;
  /** Present on the last chunk of a text, whose token is the end token if this is `end`. */
  readonly finish?: Finish;
}

/**
 * Writes a continuation of each prompt; all prompts are decoded in one batch.
 *
 * Texts are numbered through the prompts and their candidates; text i is drawn from `seed + i` alone, so it does not
 * depend on its batch mates (up to the last bits of the logits, where a matrix product of another size may round
 * differently).
 *
 * @throws ConfigError for settings that do not fit, or a tokenizer that is not the model's
 * @throws TokenizerError for prompt ids outside the vocabulary
 * @throws the signal's reason when it is aborted
 */
export async function generate(
  model: PlugModel,
  tokenizer: Tokenizer,
  prompt: Prompt,
  settings?: GenerationSettings,
  options?: GenerateOptions,
): Promise<Generation>;
export async function generate(
  model: PlugModel,
  tokenizer: Tokenizer,
  prompts: readonly Prompt[],
  settings?: GenerationSettings,
  options?: GenerateOptions,
): Promise<Generation[]>;
export async function generate(
  model: PlugModel,
  tokenizer: Tokenizer,
  given: Prompt | readonly Prompt[],
  settings: GenerationSettings = {},
  options: GenerateOptions = {},
): Promise<Generation | Generation[]> {
  const job = prepare(model, tokenizer, given, settings, options);
  const texts = job.plan.beams > 1 ? await searched(job, options) : await sampled(job, options);
  const generations = job.sources.map(
    ({ notes }, prompt): Generation => ({
      texts: texts[prompt]!,
      notes: [...job.plan.notes, ...notes],
    }),
  );
  return isOnePrompt(given) ? generations[0]! : generations;
}

/**
 * The same texts token by token. Texts of a batch come interleaved. Beam search decides only at the end, and gives
 * its tokens then. Leaving the loop early frees everything.
 * @throws as `generate` does, from the first step of the iteration
 */
export async function* generateStream(
  model: PlugModel,
  tokenizer: Tokenizer,
  given: Prompt | readonly Prompt[],
  settings: GenerationSettings = {},
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedChunk, void, undefined> {
  const job = prepare(model, tokenizer, given, settings, options);
  yield* job.plan.beams > 1 ? searchedChunks(job, options) : sampledChunks(job, options);
}

interface Job {
  readonly model: PlugModel;
  readonly tokenizer: Tokenizer;
  readonly plan: GenerationPlan;
  readonly sources: readonly Source[];
}

function isOnePrompt(given: Prompt | readonly Prompt[]): given is Prompt {
  return !Array.isArray(given);
}

function prepare(
  model: PlugModel,
  tokenizer: Tokenizer,
  given: Prompt | readonly Prompt[],
  settings: GenerationSettings,
  { onNote }: GenerateOptions,
): Job {
  checkTokenizer(tokenizer, model.config);
  const plan = planGeneration(settings, model.config);
  const prompts = isOnePrompt(given) ? [given] : given;
  const sources = prompts.map((prompt) => sourceOf(prompt, tokenizer, plan, model.config));
  for (const note of plan.notes) onNote?.(note);
  for (const [prompt, { notes }] of sources.entries()) for (const note of notes) onNote?.(note, prompt);
  return { model, tokenizer, plan, sources };
}

/** A sampled token with its place in the call. */
interface PlacedToken extends SampledToken {
  readonly prompt: number;
  readonly candidate: number;
}

async function* sampledTokens(
  { model, tokenizer, plan, sources }: Job,
  { signal, forward = model.inference }: GenerateOptions,
): AsyncGenerator<PlacedToken, void, undefined> {
  const { numCandidates } = plan;
  const requests = sources.flatMap((source, prompt) =>
    Array.from({ length: numCandidates }, (_, candidate) => ({
      source,
      seed: seedOf(plan, prompt, candidate),
    })),
  );
  const { originalVocabSize } = model.config;
  using pass = new DecodingPass(model, forward, signal);
  for await (const token of sampleRows(pass, plan, tokenizer.special, originalVocabSize, requests)) {
    const prompt = Math.floor(token.row / numCandidates);
    yield { ...token, prompt, candidate: token.row % numCandidates };
  }
}

async function* sampledChunks(
  job: Job,
  options: GenerateOptions,
): AsyncGenerator<GeneratedChunk, void, undefined> {
  const pieces = new Map<number, TextPieces>();
  for await (const { row, id, ...rest } of sampledTokens(job, options)) {
    const text = pieces.get(row) ?? new TextPieces(job.tokenizer);
    pieces.set(row, text);
    yield { ...rest, tokenId: id, text: text.push(id) };
  }
}

async function sampled(job: Job, options: GenerateOptions): Promise<GeneratedText[][]> {
  const { plan, tokenizer } = job;
  const newDraft = (seed: number) => ({
    tokenIds: [] as number[],
    finish: 'length' as Finish,
    logProbability: 0,
    seed,
  });
  const drafts = job.sources.map((_, prompt) =>
    Array.from({ length: plan.numCandidates }, (_, candidate) => newDraft(seedOf(plan, prompt, candidate))),
  );
  for await (const { prompt, candidate, id, logProbability, finish } of sampledTokens(job, options)) {
    const draft = drafts[prompt]![candidate]!;
    draft.logProbability += logProbability;
    if (finish !== 'end') draft.tokenIds.push(id);
    if (finish) draft.finish = finish;
  }
  return drafts.map((texts) => texts.map((draft) => ({ text: tokenizer.decode(draft.tokenIds), ...draft })));
}

async function search(
  { model, tokenizer, plan, sources }: Job,
  { signal, forward = model.inference }: GenerateOptions,
): Promise<FoundText[][]> {
  if (sources.length === 0) return [];
  using pass = new DecodingPass(model, forward, signal);
  return await beamSearch(pass, plan, tokenizer.special, model.config.originalVocabSize, sources);
}

async function searched(job: Job, options: GenerateOptions): Promise<GeneratedText[][]> {
  const found = await search(job, options);
  return found.map((texts) =>
    texts.map(({ ids, logProbabilities, score, finish }) => ({
      text: job.tokenizer.decode(ids),
      tokenIds: ids,
      finish,
      logProbability: logProbabilities.reduce((sum, value) => sum + value, 0),
      score,
    })),
  );
}

async function* searchedChunks(
  job: Job,
  options: GenerateOptions,
): AsyncGenerator<GeneratedChunk, void, undefined> {
  const found = await search(job, options);
  for (const [prompt, texts] of found.entries()) {
    for (const [candidate, { ids, logProbabilities, finish }] of texts.entries()) {
      const pieces = new TextPieces(job.tokenizer);
      for (const [at, logProbability] of logProbabilities.entries()) {
        const tokenId = ids[at] ?? job.tokenizer.special.sep;
        const isLast = at === logProbabilities.length - 1;
        const text = pieces.push(tokenId);
        yield { prompt, candidate, tokenId, text, logProbability, ...(isLast && { finish }) };
      }
    }
  }
}
