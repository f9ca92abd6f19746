// Folders of runs that clients may name, and nothing outside: `..`, absolute paths and links that lead out are refused.
import { realpathSync } from 'node:fs';
import { relative, resolve, sep } from 'node:path';
import { resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { isBeneath } from './beneath.js';
import { RequestError } from './errors.js';

/** A run with a model; links are resolved. */
export interface FoundRun {
  /** Path beneath the folder of runs. */
  readonly name: string;
  /** Its model's folder. */
  readonly model: string;
}

/**
 * The run that a client means by a path beneath the folder of runs.
 * @throws RequestError 403 outside of the folder, 404 when there is no such run, 400 when it holds no model
 */
export function findRun(runsFolder: string, run: string): FoundRun {
  const named = resolve(runsFolder, run);
  if (!isBeneath(resolve(runsFolder), named)) throw outside(run);
  const root = realPath(runsFolder, run);
  const folder = realPath(named, run);
  if (!isBeneath(root, folder)) throw outside(run);
  const model = realPath(modelIn(folder, run), run);
  if (!isBeneath(root, model)) throw outside(run);
  return { name: relative(root, folder).split(sep).join('/'), model };
}

function modelIn(folder: string, run: string): string {
  try {
    return resolveModelFolder(folder);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new RequestError(400, `The folder "${run}" holds no model. Has the run finished?`, {
      code: 'no_model',
      param: 'folder',
    });
  }
}

function realPath(path: string, run: string): string {
  try {
    return realpathSync(path);
  } catch {
    throw new RequestError(404, `There is no folder "${run}" among the runs.`, {
      code: 'run_not_found',
      param: 'folder',
    });
  }
}

function outside(run: string): RequestError {
  return new RequestError(403, `"${run}" is not beneath the server's folder of runs.`, {
    code: 'outside_runs',
    param: 'folder',
  });
}
