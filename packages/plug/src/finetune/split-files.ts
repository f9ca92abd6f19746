// Which files hold which split of a task's data. Published files are called after their task, `DRCD_training.json` or
// `c3-m-dev.json`, or not, `train.json`: what counts are the words of a name.
import { readdirSync, statSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { readable } from '../corpus/files.js';
import { ConfigError } from '../errors.js';
import { isAnswersFile, layoutOf } from './layouts.js';
import { fileEndings } from './rows.js';
import type { FinetuneTask } from './task.js';

export type SplitName = 'train' | 'dev' | 'test';
export const splitNames: readonly SplitName[] = ['train', 'dev', 'test'];

const splitWords: ReadonlyMap<string, SplitName> = new Map([
  ['train', 'train'],
  ['training', 'train'],
  ['dev', 'dev'],
  ['valid', 'dev'],
  ['validation', 'dev'],
  ['test', 'test'],
]);

/**
 * Sorts files into splits: those of a folder by the task's `files` or else by the split word in their names (`train…`,
 * `…-dev`, `…_test_…`), files named outright by that word.
 * @throws ConfigError when a folder has several files for one split or not all that the task reads together, or when a
 * file's name tells no split
 */
export function findSplitFiles(paths: readonly string[], task: FinetuneTask): Record<SplitName, string[]> {
  const files: Record<SplitName, string[]> = { train: [], dev: [], test: [] };
  for (const path of paths) {
    if (readable(path, () => statSync(path).isDirectory())) {
      const names = readdirSync(path).sort();
      for (const split of splitNames) files[split].push(...inFolder(path, names, split, task));
      continue;
    }
    if (isAnswersFile(path, layoutOf(task)))
      throw new ConfigError(
        `${path} holds answers, which are read along with their texts. Leave it out of the list.`,
      );
    const name = basename(path);
    const split = splitOfName(name, task) ?? (isTrial(name, task) ? 'dev' : undefined);
    if (!split)
      throw new ConfigError(
        `${path}: the name does not tell the split. Call it train…, dev… or test…, or put one of these words between ` +
          `"-", "_" or "." (${task.name}-train-2.json), with ${fileEndings.join(', ')}.`,
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
  const wanted = declaredNames(task, split);
  if (task.files && wanted.length === 0) return [];
  const declared = wanted.map((one) => ({
    one,
    found: names.filter((name) => fits(name, one, split, task)),
  }));
  const missing = declared.filter(({ found }) => found.length === 0).map(({ one }) => one);
  if (missing.length < wanted.length) {
    const found = declared.flatMap(({ found }) => onlyOne(found, folder, split));
    if (missing.length > 0)
      throw new ConfigError(
        `${folder} has ${found.join(', ')} for ${split}, but no ${missing.join(', ')}, which ${task.name} reads with it. ` +
          'Add what is missing, or name the files that you want in place of the folder.',
      );
    return found.map((name) => join(folder, name));
  }
  // Benchmarks have test files without labels beside the one with labels that a task declares.
  if (task.files && split === 'test') return [];
  const told = names.filter((name) => splitOfName(name, task) === split);
  const found = told.length > 0 || split !== 'dev' ? told : names.filter((name) => isTrial(name, task));
  return onlyOne(found, folder, split).map((name) => join(folder, name));
}

/**
 * The test file in a folder that the site of a task scores: the first of the names that the task has for it, also with
 * more words in front; undefined when there is none.
 * @throws ConfigError when two files could be meant
 */
export function findSiteTest(folder: string, task: FinetuneTask): string | undefined {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return undefined;
  const names = readdirSync(folder).sort();
  const isDeclared = (name: string): boolean =>
    splitNames.some((split) => declaredNames(task, split).some((one) => fits(name, one, split, task)));
  const isMeant = (name: string, wanted: string): boolean =>
    name === wanted || (isData(name, task) && hasWordsOf(name, wanted) && !isDeclared(name));
  const candidates = task.submission?.test?.map((wanted) =>
    names.filter((name) => isMeant(name, wanted)),
  ) ?? [names.filter((name) => splitOfName(name, task) === 'test')];
  const [found] = onlyOne(candidates.find((some) => some.length > 0) ?? [], folder, 'test');
  return found === undefined ? undefined : join(folder, found);
}

/** @throws ConfigError when there are more: which one is meant, or whether both are, cannot be known */
function onlyOne(found: readonly string[], folder: string, split: SplitName): readonly string[] {
  if (found.length > 1)
    throw new ConfigError(
      `${folder} has several files for ${split}: ${found.join(', ')}. Name the files that you want in place of the folder.`,
    );
  return found;
}

function declaredNames({ files }: FinetuneTask, split: SplitName): string[] {
  const names = files?.[split] ?? [];
  return typeof names === 'string' ? [names] : names;
}

/** Whether a file is the declared one: by its name, or by the same words in any order after others. */
function fits(name: string, wanted: string, split: SplitName, task: FinetuneTask): boolean {
  if (name === wanted) return true;
  // Declared for another place: `extra-train.json` beside `train.json`.
  if (splitNames.some((other) => declaredNames(task, other).includes(name))) return false;
  return splitOfName(name, task) === split && hasWordsOf(name, wanted);
}

/** Whether a name ends with the words of another, in any order. */
function hasWordsOf(name: string, wanted: string): boolean {
  if (endingOf(name) !== endingOf(wanted)) return false;
  const sought = plainWords(wanted);
  const last = plainWords(name).slice(-sought.length);
  return last.sort().join() === sought.sort().join();
}

/** The words of a name, those for splits in one form. */
function plainWords(name: string): string[] {
  return wordsOf(name).map((word) => splitWords.get(word) ?? word);
}

function wordsOf(name: string): string[] {
  return basename(name, extname(name))
    .toLowerCase()
    .split(/[-_.]+/);
}

function endingOf(name: string): string {
  return extname(name).toLowerCase();
}

function isData(name: string, task: FinetuneTask): boolean {
  return fileEndings.some((ending) => ending === endingOf(name)) && !isAnswersFile(name, layoutOf(task));
}

/** Undefined where the name has no word for a split, or words for several. */
function splitOfName(name: string, task: FinetuneTask): SplitName | undefined {
  if (!isData(name, task)) return undefined;
  const words = wordsOf(name);
  for (const [beginning, split] of splitWords) if (words[0]!.startsWith(beginning)) return split;
  const told = new Set(words.flatMap((word) => splitWords.get(word) ?? []));
  return told.size === 1 ? [...told][0] : undefined;
}

/** A small set for trying things out, as CMRC2018 has one: it serves as dev where there is no other. */
function isTrial(name: string, task: FinetuneTask): boolean {
  const words = wordsOf(name);
  return words.includes('trial') && isData(name, task) && !words.some((word) => splitWords.has(word));
}
