// A space of settings to search: which combinations there are.
import { readFileSync } from 'node:fs';
import { nearestName } from '../config/index.js';
import { ConfigError } from '../errors.js';
import { keyedRandom } from '../random.js';
import { type FinetuneSettings, finetuneSchema } from './settings.js';

/**
 * All combinations of a space of settings, `{"learningRate": [1e-4, 3e-4], "epochs": [3, 5]}`, or `count` of them drawn
 * at random.
 * @throws ConfigError for a file that is no such space, or a setting that does not exist
 */
export function searchChanges(
  file: string,
  count: number | undefined,
  seed: number,
): Map<string, Partial<FinetuneSettings>> {
  const space = readSpace(file);
  let all: Record<string, unknown>[] = [{}];
  for (const [name, values] of space)
    all = all.flatMap((combination) => values.map((value) => ({ ...combination, [name]: value })));
  const chosen =
    count === undefined
      ? all
      : keyedRandom(seed, searchKey)
          .shuffle([...all])
          .slice(0, count);
  return new Map(
    chosen.map((combination) => {
      const name = Object.entries(combination)
        .map(([key, value]) => `${key}-${String(value).replace(/[^\w.+-]+/g, '_')}`)
        .join('_');
      return [name, combination as Partial<FinetuneSettings>];
    }),
  );
}

const searchKey = 0x5ea2;

function readSpace(file: string): [string, readonly unknown[]][] {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${file} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json) || Object.keys(json).length === 0)
    throw new ConfigError(`${file}: expected an object from settings to lists of values.`);
  const known = Object.keys(finetuneSchema.shape).filter((name) => name !== 'out');
  return Object.entries(json).map(([name, values]) => {
    if (!known.includes(name)) {
      const nearest = nearestName(name, known);
      throw new ConfigError(
        `${file}: there is no setting "${name}".${nearest ? ` Did you mean "${nearest}"?` : ''}`,
      );
    }
    if (!Array.isArray(values) || values.length === 0)
      throw new ConfigError(`${file}: "${name}" needs a list of values, got ${JSON.stringify(values)}.`);
    for (const value of values) {
      const checked = finetuneSchema.shape[name as keyof typeof finetuneSchema.shape].safeParse(value);
      if (!checked.success)
        throw new ConfigError(
          `${file}: ${name} cannot be ${JSON.stringify(value)}: ${checked.error.issues[0]?.message}.`,
        );
    }
    return [name, values];
  });
}
