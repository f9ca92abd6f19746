// The runs beneath a folder: finding them, and turning the name that a client gives into a path that is surely inside.
import { readdirSync, realpathSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { isBeneath } from './beneath.js';
import { RequestError } from './errors.js';

/** Deep enough for runs/quickstart/finetune/TASK/seed-1. */
const maxDepth = 5;
/** A folder tree can be anything: past these the rest is left out. */
const maxFolders = 5000;
const maxRuns = 1000;
/** Parts of a run that hold no runs, and are many or large. */
const notRuns = new Set(['checkpoints', 'model', 'best', 'corpus', 'node_modules']);

/** Names of all folders with settings beneath `root`, as paths from there; links are not followed. */
export function findRuns(root: string): { ids: string[]; truncated: boolean } {
  const ids: string[] = [];
  const waiting: string[] = [''];
  for (let seen = 0; waiting.length > 0; seen++) {
    if (seen >= maxFolders || ids.length >= maxRuns) return { ids: ids.sort(), truncated: true };
    const id = waiting.shift()!;
    const entries = listed(join(root, id));
    if (id !== '' && entries.some((entry) => entry.isFile() && entry.name === 'settings.json')) ids.push(id);
    if (id.split('/').length >= maxDepth) continue;
    for (const entry of entries)
      if (entry.isDirectory() && !entry.name.startsWith('.') && !notRuns.has(entry.name))
        waiting.push(id === '' ? entry.name : `${id}/${entry.name}`);
  }
  return { ids: ids.sort(), truncated: false };
}

function listed(path: string) {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return []; // gone since it was listed, or not ours to read
  }
}

/**
 * The path of a run that a client names.
 * @throws RequestError 404 when there is none, 403 when the name or a link leads out of `root`
 */
export function runPath(root: string | undefined, id: string): string {
  const missing = new RequestError(
    404,
    `There is no run ${JSON.stringify(id)} here. GET /v1/runs names all.`,
    {
      code: 'run_not_found',
      param: 'id',
    },
  );
  if (root === undefined || id === '' || id.includes('\0')) throw missing;
  if (isAbsolute(id) || id.split(/[/\\]/).includes('..')) throw outside(id);
  try {
    const path = realpathSync(join(root, id));
    if (!isBeneath(realpathSync(root), path)) throw outside(id);
    if (!statSync(join(path, 'settings.json')).isFile()) throw missing;
    return path;
  } catch (error) {
    throw error instanceof RequestError ? error : missing;
  }
}

function outside(id: string): RequestError {
  return new RequestError(403, `${JSON.stringify(id)} is not beneath the folder of runs.`, {
    code: 'outside_runs',
    param: 'id',
  });
}
