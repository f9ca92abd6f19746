// The text that describes a model to people, where its folder has one.
import { readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { resolveModelFolder } from '../checkpoint/index.js';
import { isBeneath } from './beneath.js';
import { RequestError } from './errors.js';

const names = ['MODEL_CARD.md', 'README.md'];
const largestBytes = 256 * 1024;

export interface ModelCard {
  readonly file: string;
  /** Markdown. */
  readonly text: string;
}

/**
 * Beside the weights, or else in the folder that was given to be served. A link that leads out of the folder is no card
 * of it.
 * @throws RequestError 404 when there is none, 413 when it is too long to show
 */
export function readModelCard(folder: string): ModelCard {
  for (const place of new Set([resolveModelFolder(folder), folder]))
    for (const name of names) {
      const found = fileWithin(place, name);
      if (!found) continue;
      if (found.stats.size > largestBytes)
        throw new RequestError(
          413,
          `${name} has ${found.stats.size} bytes; at most ${largestBytes} are shown.`,
        );
      return { file: basename(found.path), text: readFileSync(found.path, 'utf8') };
    }
  throw new RequestError(404, `This model has no card: its folder holds neither ${names.join(' nor ')}.`, {
    code: 'no_card',
  });
}

function fileWithin(folder: string, name: string): { path: string; stats: Stats } | undefined {
  try {
    const path = realpathSync(join(folder, name));
    const stats = statSync(path);
    return stats.isFile() && isBeneath(realpathSync(folder), path) ? { path, stats } : undefined;
  } catch {
    return undefined; // not there, or not ours to read
  }
}
