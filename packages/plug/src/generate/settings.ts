// Every setting of text generation, for the command and for the API, and what they mean for one model.
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import type { PlugConfig } from '../model/index.js';

/** Fields of the settings schema; a command spreads them into its own. */
export const generationFields = {
  maxLength: z.int().min(1).max(1_000_000).default(128).describe('tokens to write at most'),
  minLength: z.int().min(0).default(0).describe('tokens before which the end token is not taken'),
  temperature: z
    .number()
    .min(0)
    .default(0.9)
    .describe('divides the logits before sampling; 0 always takes the most probable token'),
  topK: z.int().min(0).default(20).describe('sample among this many most probable tokens; 0: among all'),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .describe('sample among the fewest tokens whose probabilities reach this sum'),
  repetitionPenalty: z
    .number()
    .min(1)
    .default(1)
    .describe('lowers the logits of tokens already written; 1: off, 1.2 is usual'),
  uniqueNgram: z
    .int()
    .min(0)
    .default(0)
    .describe('write each sequence of this many tokens at most once ("no-repeat n-gram"); 0: off'),
  numCandidates: z.int().min(1).max(1024).default(1).describe('texts for each prompt'),
  seed: z.int().min(0).max(0xffff_ffff).default(1).describe('text i of a call is drawn with seed + i'),
  beams: z
    .int()
    .min(1)
    .max(65_536)
    .default(1)
    .describe('beam search of this width in place of sampling; 1: off, 5 is usual for fine-tuned tasks'),
  lengthPenalty: z
    .number()
    .min(0)
    .default(1)
    .describe('beam search: log-probabilities are divided by ((5 + length) / 6) to this power'),
  earlyStopping: z
    .boolean()
    .default(false)
    .describe('beam search: stop once as many texts have ended as there are beams'),
  windowTokens: z
    .int()
    .min(3)
    .default(512)
    .describe('most tokens of source that the encoder is given, [CLS] and [SEP] included'),
  refreshTokens: z
    .int()
    .min(0)
    .default(128)
    .describe('after every so many written tokens, re-encode the source with them appended; 0: never'),
  longTextMinRatio: z
    .number()
    .min(0)
    .max(1)
    .default(0.8)
    .describe('share of --max-length before which a text that is re-encoded does not end'),
};

/** The strict schema of all settings; the defaults are the published ones. */
export const generationSchema = z.strictObject(generationFields);

/** What a caller may give; the rest are defaults. */
export type GenerationSettings = z.input<typeof generationSchema>;

/** Settings fitted to one model. */
export interface GenerationPlan extends Readonly<z.output<typeof generationSchema>> {
  /** Tokens that one decoder pass writes before the source is re-encoded. */
  readonly passTokens: number;
  /** What had to be changed for this model, in words for the user. */
  readonly notes: readonly string[];
}

/**
 * Checks the settings, and adapts the window to a model with fewer positions than the published 512.
 * @throws ConfigError for settings that are unknown, out of range, or contradict each other or the model
 */
export function planGeneration(given: GenerationSettings, config: PlugConfig): GenerationPlan {
  const parsed = generationSchema.safeParse(given);
  if (!parsed.success)
    throw new ConfigError(`Generation settings do not fit:\n${z.prettifyError(parsed.error)}`);
  const settings = parsed.data;
  const positions = config.maxPositionEmbeddings;
  if (config.decHiddenLayers === 0)
    throw new ConfigError(
      'This model is an encoder alone (dec_hidden_layers is 0) and writes no text. Use a model of stage 2.',
    );
  checkCandidates(settings);
  const notes: string[] = [];
  const windowTokens = Math.min(settings.windowTokens, positions);
  // Beams are compared over whole texts, so they stay within one pass.
  const isOnePass = settings.beams > 1 || settings.refreshTokens === 0;
  if (isOnePass && settings.maxLength > positions)
    throw new ConfigError(
      `maxLength is ${settings.maxLength}, but this model has ${positions} positions and ` +
        `${settings.beams > 1 ? 'beam search does not re-encode' : 'refreshTokens is 0'}. ` +
        `Ask for at most ${positions} tokens${settings.beams > 1 ? ', or sample (beams 1)' : ', or set refreshTokens'}.`,
      { field: 'maxLength' },
    );
  const passTokens = isOnePass
    ? settings.maxLength
    : Math.min(settings.refreshTokens, positions, settings.maxLength);
  const isLong = settings.maxLength > passTokens;
  if (isLong && passTokens < settings.refreshTokens)
    notes.push(
      `This model has ${positions} positions: the source is re-encoded after every ${passTokens} tokens instead of ${settings.refreshTokens}.`,
    );
  if (isLong && windowTokens < settings.windowTokens)
    notes.push(
      `This model has ${positions} positions: the encoder sees ${windowTokens} tokens instead of ${settings.windowTokens}.`,
    );
  const ignoredUntil = isLong ? Math.ceil(settings.longTextMinRatio * settings.maxLength) : 0;
  return {
    ...settings,
    windowTokens,
    passTokens,
    minLength: Math.max(settings.minLength, ignoredUntil),
    notes,
  };
}

function checkCandidates(settings: z.output<typeof generationSchema>): void {
  const { beams, numCandidates, minLength, maxLength, temperature } = settings;
  if (minLength > maxLength)
    throw new ConfigError(`minLength (${minLength}) is more than maxLength (${maxLength}).`, {
      field: 'minLength',
    });
  if (beams > 1 && numCandidates > beams)
    throw new ConfigError(
      `numCandidates (${numCandidates}) is more than beams (${beams}): beam search gives at most one text a beam.`,
      { field: 'numCandidates' },
    );
  if (beams === 1 && temperature === 0 && numCandidates > 1)
    throw new ConfigError(
      `numCandidates is ${numCandidates}, but temperature 0 writes the same text each time. Raise the temperature, or use beams.`,
      { field: 'numCandidates' },
    );
}

/** What text `candidate` of prompt `prompt` of a call is drawn from. */
export function seedOf(plan: GenerationPlan, prompt: number, candidate: number): number {
  return (plan.seed + prompt * plan.numCandidates + candidate) % 2 ** 32;
}
