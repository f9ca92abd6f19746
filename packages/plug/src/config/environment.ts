// Settings from environment variables, as containers and services set them: OPENPLUG_SERVE_MAX_CALLS for --max-calls of
// `plug serve`.
import { ConfigError } from '../errors.js';
import { describeFields, flagOf, type SettingsSchema } from './fields.js';
import { nearestName } from './nearest-name.js';

/** Behind the prefix: the file of settings itself. */
export const configVariable = 'CONFIG';

/** The variables of one command. */
export interface EnvironmentSource {
  /** Begins their names: `OPENPLUG_SERVE_`. */
  readonly prefix: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** `OPENPLUG_SERVE_`, `maxCalls` → `OPENPLUG_SERVE_MAX_CALLS`. */
export function variableOf(prefix: string, key: string): string {
  return prefix + flagOf(key).slice('--'.length).replaceAll('-', '_').toUpperCase();
}

/**
 * What the variables say of the settings, as texts; members of lists are separated by commas, and an empty variable counts
 * as not given.
 * @throws ConfigError for a variable that begins like those of the command and is none, with the nearest name
 */
export function environmentTexts(
  schema: SettingsSchema,
  { prefix, variables }: EnvironmentSource,
): Record<string, string | string[]> {
  const fields = new Map(describeFields(schema).map((field) => [variableOf('', field.key), field]));
  const known = [...fields.keys(), configVariable];
  const texts: Record<string, string | string[]> = {};
  for (const [variable, text] of Object.entries(variables)) {
    if (!variable.startsWith(prefix) || text === undefined) continue;
    const name = variable.slice(prefix.length);
    if (!known.includes(name)) {
      const nearest = nearestName(name, known);
      throw new ConfigError(
        `Unknown variable ${variable} in the environment. ` +
          (nearest ? `Did you mean ${prefix}${nearest}?` : `After ${prefix} may stand: ${known.join(', ')}.`),
      );
    }
    const field = fields.get(name);
    if (field && text !== '') texts[field.key] = field.kind === 'list' ? text.split(',') : text;
  }
  return texts;
}
