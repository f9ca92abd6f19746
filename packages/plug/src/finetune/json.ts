// JSON files that must be there.
import { readFileSync } from 'node:fs';
import { ConfigError } from '../errors.js';

/** @throws ConfigError when the file cannot be read as JSON */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${path} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
}
