// Resolves a command's settings: defaults, then a JSON file, then the environment, then flags, each value with its origin.
// Nothing is ignored: an unknown key, a wrong type or a value out of range is a ConfigError.
import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { ConfigError } from '../errors.js';
import { configVariable, type EnvironmentSource, environmentTexts, variableOf } from './environment.js';
import { describeFields, flagOf, parseFlagText, type SettingField, type SettingsSchema } from './fields.js';
import { nearestName } from './nearest-name.js';

/** Where a value came from; a later one overrides an earlier one. */
export type Origin = 'default' | 'file' | 'environment' | 'flag';

export interface ResolvedSettings<Schema extends SettingsSchema> {
  /** Checked values; optional settings that nobody gave are absent. */
  readonly settings: z.output<Schema>;
  /** For every key of the schema. A setting that nobody gave counts as `default`. */
  readonly origins: Record<keyof z.output<Schema> & string, Origin>;
}

export interface SettingsSources {
  /** Path of a JSON file: an object of settings, or a saved record as `settingsRecord` makes it. */
  readonly file?: string | undefined;
  /** Its variable `CONFIG` names the file when `file` does not. */
  readonly environment?: EnvironmentSource | undefined;
  /** Values by key. Texts are read as the setting's kind; undefined means not given. */
  readonly flags?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * The settings of a command from its strict schema and what the user gave.
 * Throws ConfigError naming every setting at fault, what it got, what is expected, and where that came from.
 */
export function resolveSettings<Schema extends SettingsSchema>(
  schema: Schema,
  { file: given, environment, flags = {} }: SettingsSources,
): ResolvedSettings<Schema> {
  const prefix = environment?.prefix ?? '';
  const file = given ?? (environment?.variables[prefix + configVariable] || undefined);
  const fields = describeFields(schema);
  const origins: Record<string, Origin> = {};
  for (const field of fields) origins[field.key] = 'default';
  const values: Record<string, unknown> = {};
  const take = (given: Readonly<Record<string, unknown>>, origin: Origin) => {
    for (const [key, value] of Object.entries(given)) {
      if (value === undefined) continue;
      const field = fields.find((candidate) => candidate.key === key);
      if (!field) throw unknownSetting(key, fields, origin === 'file' ? `in ${file}` : 'among the flags');
      values[key] = origin === 'file' ? value : parseFlagText(field, value);
      origins[key] = origin;
    }
  };
  if (file !== undefined) take(readSettingsFile(file), 'file');
  if (environment) take(environmentTexts(schema, environment), 'environment');
  take(flags, 'flag');

  const checked = schema.safeParse(values);
  if (checked.success)
    return { settings: checked.data as z.output<Schema>, origins } as ResolvedSettings<Schema>;
  const lines = checked.error.issues.map((issue) =>
    explainIssue(issue, { fields, values, origins, file, prefix }),
  );
  throw new ConfigError([...new Set(lines)].join('\n'), { cause: checked.error });
}

/** What to save with a run: the values and where each came from. Reads back as a file of settings. */
export function settingsRecord<Schema extends SettingsSchema>(resolved: ResolvedSettings<Schema>): string {
  return `${JSON.stringify({ settings: resolved.settings, origins: resolved.origins }, null, 2)}\n`;
}

function unknownSetting(key: string, fields: readonly SettingField[], where: string): ConfigError {
  const names = fields.map((field) => field.key);
  const nearest = nearestName(key, names);
  const help = nearest ? `Did you mean "${nearest}"?` : `Known settings: ${names.join(', ')}.`;
  return new ConfigError(`Unknown setting "${key}" ${where}. ${help}`);
}

function readSettingsFile(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message;
    throw new ConfigError(`Cannot read the settings file ${file}: ${reason}.`, { cause: error });
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new ConfigError(`The settings file ${file} is not valid JSON: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  if (!isObject(parsed)) {
    throw new ConfigError(
      `The settings file ${file} must hold one JSON object, as in {"seed": 1}; got ${showValue(parsed)}.`,
    );
  }
  const isRecord = Object.keys(parsed).length === 2 && isObject(parsed.settings) && isObject(parsed.origins);
  return isRecord ? (parsed.settings as Record<string, unknown>) : parsed;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface Circumstances {
  fields: readonly SettingField[];
  values: Record<string, unknown>;
  origins: Record<string, Origin>;
  file: string | undefined;
  prefix: string;
}

function explainIssue(
  issue: z.core.$ZodIssue,
  { fields, values, origins, file, prefix }: Circumstances,
): string {
  const key = typeof issue.path[0] === 'string' ? issue.path[0] : undefined;
  const field = fields.find((candidate) => candidate.key === key);
  // A rule over several settings carries its own words, and may belong to no single key.
  if (!field || !key) return issue.message;
  if (!(key in values) && issue.code !== 'custom') {
    const how = `give ${field.flag} or "${key}" in a --config file`;
    return `${key} is required: ${how}. Expected ${field.expected}${field.description ? ` (${field.description})` : ''}.`;
  }
  const where = {
    default: 'the default',
    file: `in ${file}`,
    environment: `from ${variableOf(prefix, key)}`,
    flag: `from ${flagOf(key)}`,
  }[origins[key] ?? 'default'];
  const expected = issue.code === 'custom' ? issue.message : `expected ${field.expected}`;
  return `${key}: got ${showValue(values[key] ?? field.defaultValue)} (${where}), ${expected}.`;
}

function showValue(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
