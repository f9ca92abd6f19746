// Reads of a folder that others may have filled: nothing outside it is touched, wherever links lead, and no more of
// a file is read than was allowed.
import { createReadStream } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isBeneath } from '../beneath.js';

/** Folders of a run in which there are no further runs, and which may hold many files. */
const skippedNames = new Set(['model', 'best', 'checkpoints', 'corpus', 'errors', 'evaluations']);
const maxDepth = 6;
const maxFolders = 5000;

/** The real path of what lies inside of `root`, links followed; undefined where there is none, or it lies outside. */
export async function insidePath(root: string, path: string): Promise<string | undefined> {
  try {
    const [realRoot, real] = await Promise.all([realpath(root), realpath(path)]);
    return real === realRoot || isBeneath(realRoot, real) ? real : undefined;
  } catch {
    return undefined;
  }
}

/** All folders below `root`, itself first, by their way from there; those of models and checkpoints left out. */
export async function foldersBelow(root: string): Promise<string[]> {
  const found: string[] = [];
  const seen = new Set<string>();
  const waiting = [{ way: '', depth: 0 }];
  for (let next = waiting.shift(); next && found.length < maxFolders; next = waiting.shift()) {
    const { way, depth } = next;
    const real = await insidePath(root, join(root, way));
    if (real === undefined || seen.has(real)) continue;
    seen.add(real);
    found.push(way);
    if (depth === maxDepth) continue;
    for (const name of await namesIn(real))
      if (!name.startsWith('.') && !skippedNames.has(name))
        waiting.push({ way: way === '' ? name : `${way}/${name}`, depth: depth + 1 });
  }
  return found;
}

/** Names of a folder's folders and of links, in order. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
      .map(({ name }) => name)
      .sort();
  } catch {
    return []; // a file behind a link, or gone in the meantime
  }
}

/** A JSON file, with when it was written. */
export interface ReadFile {
  json: unknown;
  modifiedMs: number;
}

/** Reads small JSON files of one folder, each again only when it has changed. */
export class JsonFiles {
  readonly #root: string;
  readonly #maxBytes: number;
  readonly #maxFiles: number;
  readonly #known = new Map<string, ReadFile & { size: number }>();

  constructor(root: string, { maxBytes = 4 * 2 ** 20, maxFiles = 2000 } = {}) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#maxFiles = maxFiles;
  }

  /** Undefined where there is no such file inside of the folder. @throws Error that says why it cannot be used */
  async read(way: string): Promise<ReadFile | undefined> {
    const path = await insidePath(this.#root, join(this.#root, way));
    if (path === undefined) return undefined;
    const about = await stat(path);
    if (!about.isFile()) return undefined;
    const { size, mtimeMs } = about;
    const known = this.#known.get(path);
    if (known?.size === size && known.modifiedMs === mtimeMs) return known;
    if (size > this.#maxBytes)
      throw new Error(`has ${size} bytes; no more than ${this.#maxBytes} are read. Is it the right file?`);
    const json: unknown = JSON.parse(await readFile(path, 'utf8'));
    const read = { json, modifiedMs: mtimeMs, size };
    if (this.#known.size >= this.#maxFiles) this.#known.clear();
    this.#known.set(path, read);
    return read;
  }
}

/** Lines of a UTF-8 file, of which only one is in memory at a time; those of more than `maxLineBytes` are left out. */
export async function* linesOf(path: string, maxLineBytes: number): AsyncGenerator<string, void, undefined> {
  let pieces: Buffer[] = [];
  let size = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      size += end - start;
      if (size <= maxLineBytes) yield Buffer.concat([...pieces, chunk.subarray(start, end)]).toString('utf8');
      pieces = [];
      size = 0;
      start = end + 1;
    }
    size += chunk.length - start;
    if (size <= maxLineBytes) pieces.push(chunk.subarray(start));
    else pieces = [];
  }
  if (size > 0 && size <= maxLineBytes) yield Buffer.concat(pieces).toString('utf8');
}
