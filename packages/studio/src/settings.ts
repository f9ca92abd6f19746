// The writing settings: plain words (length, style) stand for numbers, and the whole can be written into the
// address after '#', so that a link carries it. Unknown or impossible values in a link fall back to defaults.

export interface Settings {
  maxLength: number;
  minLength: number;
  temperature: number;
  topK: number;
  topP: number;
  repetitionPenalty: number;
  /** Each sequence of so many tokens is written at most once; 0: as often as it comes. */
  uniqueNgram: number;
  numCandidates: number;
  /** null: the server draws one and says which. */
  seed: number | null;
}

export interface Bounds {
  min: number;
  max: number;
  step: number;
}
type NumberKey = Exclude<keyof Settings, 'seed'>;

export const DEFAULTS: Settings = {
  maxLength: 128,
  minLength: 0,
  temperature: 0.9,
  topK: 20,
  topP: 1,
  repetitionPenalty: 1,
  uniqueNgram: 0,
  numCandidates: 1,
  seed: null,
};
/** More than any server writes; what this one does is told with its models. */
const MAX_LENGTH = 1_000_000;
export const BOUNDS: Record<NumberKey, Bounds> = {
  maxLength: { min: 1, max: MAX_LENGTH, step: 1 },
  minLength: { min: 0, max: MAX_LENGTH, step: 1 },
  temperature: { min: 0, max: 5, step: 0.05 },
  topK: { min: 0, max: 1000, step: 1 },
  topP: { min: 0.01, max: 1, step: 0.01 },
  repetitionPenalty: { min: 1, max: 3, step: 0.05 },
  uniqueNgram: { min: 0, max: 64, step: 1 },
  numCandidates: { min: 1, max: 16, step: 1 },
};
export const NUMBER_KEYS = Object.keys(BOUNDS) as NumberKey[];
export const LENGTHS = { short: 48, medium: 128, long: 320 } as const;
export const STYLES = {
  steady: { temperature: 0.6, topP: 0.9 },
  balanced: { temperature: 0.9, topP: 1 },
  bold: { temperature: 1.2, topP: 1 },
} as const;
export const MAX_SEED = 2 ** 32 - 1;

export type LengthWord = keyof typeof LENGTHS;
export type StyleWord = keyof typeof STYLES;

/** The word that stands for these numbers; undefined when they were set by hand. */
export function lengthWord(settings: Settings): LengthWord | undefined {
  return (Object.keys(LENGTHS) as LengthWord[]).find((word) => LENGTHS[word] === settings.maxLength);
}
export function styleWord(settings: Settings): StyleWord | undefined {
  return (Object.keys(STYLES) as StyleWord[]).find(
    (word) => STYLES[word].temperature === settings.temperature && STYLES[word].topP === settings.topP,
  );
}

/** What the server takes, given the most tokens that it lets one text have. */
export function boundsOf(key: NumberKey, settings: Settings, maxNewTokens: number): Bounds {
  const max = { maxLength: maxNewTokens, minLength: settings.maxLength }[key as string];
  return { ...BOUNDS[key], ...(max !== undefined && { max }) };
}

/** Settings of a link, or made for another model, as this one's server takes them. */
export function fitSettings(settings: Settings, maxNewTokens: number): Settings {
  const maxLength = Math.min(settings.maxLength, maxNewTokens);
  return { ...settings, maxLength, minLength: Math.min(settings.minLength, maxLength) };
}

/** The value as the server accepts it: inside the bounds, whole where only whole numbers make sense. */
export function clampSetting(key: NumberKey, value: number, bounds: Bounds = BOUNDS[key]): number {
  const { min, max, step } = bounds;
  if (!Number.isFinite(value)) return DEFAULTS[key];
  const inside = Math.min(max, Math.max(min, value));
  return step === 1 ? Math.round(inside) : inside;
}

/** Only what differs from the defaults, so that links stay short. */
export function toHash(page: string, settings: Settings, prompt: string): string {
  const query = new URLSearchParams();
  for (const key of NUMBER_KEYS) if (settings[key] !== DEFAULTS[key]) query.set(key, String(settings[key]));
  if (settings.seed !== null) query.set('seed', String(settings.seed));
  if (prompt !== '') query.set('prompt', prompt);
  const text = query.toString();
  return `#${page}${text === '' ? '' : `?${text}`}`;
}

export function fromHash(hash: string): { page: string; settings: Settings; prompt: string } {
  const [page = '', ...rest] = hash.replace(/^#/, '').split('?');
  const query = new URLSearchParams(rest.join('?'));
  const settings: Settings = { ...DEFAULTS };
  for (const key of NUMBER_KEYS) {
    const value = query.get(key);
    if (value !== null && value.trim() !== '') settings[key] = clampSetting(key, Number(value));
  }
  settings.seed = readSeed(query.get('seed') ?? '');
  return { page, settings, prompt: query.get('prompt') ?? '' };
}

export function readSeed(text: string): number | null {
  const seed = Number(text);
  return text.trim() !== '' && Number.isInteger(seed) && seed >= 0 && seed <= MAX_SEED ? seed : null;
}
