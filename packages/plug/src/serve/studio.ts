// Where the files of the web studio are.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of the studio's packed page; undefined where it has not been packed. */
export function studioFolder(): string | undefined {
  const folder = join(dirname(fileURLToPath(import.meta.resolve('@openplug/studio/package.json'))), 'dist');
  return existsSync(join(folder, 'index.html')) ? folder : undefined;
}
