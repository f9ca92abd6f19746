// The model that comes with the program, for whoever has none yet.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '../errors.js';

const packageName = '@openplug/poetry';

/**
 * The folder of the small model that writes classical poems, the package `@openplug/poetry`.
 * @throws ConfigError when the package is not installed
 */
export function shippedModelFolder(): string {
  let folder: string | undefined;
  try {
    folder = dirname(fileURLToPath(import.meta.resolve(`${packageName}/package.json`)));
  } catch {
    // Not installed, which the next line says.
  }
  if (folder && existsSync(join(folder, 'config.json'))) return folder;
  throw new ConfigError(
    `No model was named, and ${packageName}, the one that comes with OpenPLUG, is not installed. Give --model FOLDER, or run npm install.`,
  );
}
