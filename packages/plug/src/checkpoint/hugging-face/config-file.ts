// Other programs' `config.json`.
import { readFileSync } from 'node:fs';
import { ConfigError } from '../../errors.js';

/** @throws ConfigError when the file cannot be read, or is no JSON object */
export function readJsonObject(path: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${path} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new ConfigError(`${path}: expected a JSON object with the model's configuration.`);
  return json as Record<string, unknown>;
}
