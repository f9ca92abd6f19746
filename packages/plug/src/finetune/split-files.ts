// Which files hold which split of a task's data.
import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readable } from '../corpus/files.js';
import { ConfigError } from '../errors.js';
import { fileEndings } from './rows.js';
import type { FinetuneTask } from './task.js';

export type SplitName = 'train' | 'dev' | 'test';
export const splitNames: readonly SplitName[] = ['train', 'dev', 'test'];

const prefixes: readonly (readonly [string, SplitName])[] = [
  ['train', 'train'],
  ['dev', 'dev'],
  ['valid', 'dev'],
  ['test', 'test'],
];

/**
 * Sorts files into splits: those of a folder by the task's `files` or else by their names (`train…`, `dev…` or
 * `valid…`, `test…`), files named outright by their names.
 * @throws ConfigError when a folder has several files for one split, or a file's name tells no split
 */
export function findSplitFiles(paths: readonly string[], task: FinetuneTask): Record<SplitName, string[]> {
  const files: Record<SplitName, string[]> = { train: [], dev: [], test: [] };
  for (const path of paths) {
    if (readable(path, () => statSync(path).isDirectory())) {
      const names = readdirSync(path).sort();
      for (const split of splitNames) files[split].push(...inFolder(path, names, split, task));
      continue;
    }
    const split = splitOfName(basename(path));
    if (!split)
      throw new ConfigError(
        `${path}: the name does not tell the split. Call it train…, dev… or test…, with ${fileEndings.join(', ')}.`,
      );
    files[split].push(path);
  }
  if (splitNames.every((split) => files[split].length === 0))
    throw new ConfigError(
      `${paths.join(', ')}: no file train…, dev… or test… with ${fileEndings.join(', ')} was found.`,
    );
  return files;
}

function inFolder(folder: string, names: readonly string[], split: SplitName, task: FinetuneTask): string[] {
  const wanted = task.files?.[split];
  if (task.files && wanted === undefined) return [];
  if (wanted !== undefined && names.includes(wanted)) return [join(folder, wanted)];
  const found = names.filter((name) => splitOfName(name) === split);
  if (found.length > 1)
    throw new ConfigError(
      `${folder} has several files for ${split}: ${found.join(', ')}. Name the files that you want in place of the folder.`,
    );
  return found.map((name) => join(folder, name));
}

function splitOfName(name: string): SplitName | undefined {
  if (!fileEndings.some((ending) => name.endsWith(ending))) return undefined;
  return prefixes.find(([prefix]) => name.startsWith(prefix))?.[1];
}
