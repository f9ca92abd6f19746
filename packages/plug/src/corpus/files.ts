// Finding and reading corpus files: a fixed order, lines of any length, and a policy for bytes that are not
// UTF-8. Everything is read in pieces, so a file may be larger than the memory.
import { isUtf8 } from 'node:buffer';
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { basename, join, relative, sep } from 'node:path';
import { CorpusError } from '../errors.js';

/** What to do with bytes that are not UTF-8: put U+FFFD in their place, leave the document out, or stop. */
export type InvalidUtf8Policy = 'replace' | 'skip' | 'error';

/** What a reader saw; a reader adds to it as it goes. */
export interface ReadReport {
  files: number;
  bytes: number;
  documents: number;
  /** Lines that held bytes which are not UTF-8. */
  invalidUtf8Lines: number;
  /** The first few places of invalid UTF-8, as `path:line`. */
  invalidUtf8Places: string[];
  /** Documents left out because of invalid UTF-8. */
  documentsSkipped: number;
  /** Documents left out because they hold no text. */
  emptyDocuments: number;
  /** Lines of a JSON lines file left out because they could not be used. */
  invalidJsonLines: number;
}

export function newReadReport(): ReadReport {
  return {
    files: 0,
    bytes: 0,
    documents: 0,
    invalidUtf8Lines: 0,
    invalidUtf8Places: [],
    documentsSkipped: 0,
    emptyDocuments: 0,
    invalidJsonLines: 0,
  };
}

/** A file to read, with the name that documents are called after. */
export interface CorpusFile {
  path: string;
  /** Path below the folder that was asked for, or the file's own name; the same on every machine. */
  name: string;
}

/**
 * The files to read, folders searched through, in natural order within each path given ("part-2" before
 * "part-10"); hidden entries are passed over.
 *
 * @param paths files or folders.
 * @param extensions endings wanted from folders, such as `.txt`. Files named outright are taken as they are.
 * @throws CorpusError if a path cannot be read, or a folder has no such file.
 */
export function listCorpusFiles(
  paths: string | readonly string[],
  extensions: readonly string[],
): CorpusFile[] {
  const files: CorpusFile[] = [];
  for (const root of typeof paths === 'string' ? [paths] : paths) {
    if (!readable(root, () => statSync(root).isDirectory())) {
      files.push({ path: root, name: basename(root) });
      continue;
    }
    const found = filesBelow(root).filter((path) => extensions.some((extension) => path.endsWith(extension)));
    if (found.length === 0) {
      throw new CorpusError(
        `no ${extensions.join(' or ')} file in ${root}. Name the files themselves, or a folder that holds some.`,
      );
    }
    const named = found.map((path) => ({ path, name: relative(root, path).split(sep).join('/') }));
    files.push(...named.sort((a, b) => naturalCompare(a.name, b.name)));
  }
  return files;
}

function filesBelow(folder: string): string[] {
  const entries = readable(folder, () => readdirSync(folder, { withFileTypes: true }));
  return entries.flatMap((entry) => {
    if (entry.name.startsWith('.')) return [];
    const path = join(folder, entry.name);
    const isFolder = entry.isSymbolicLink()
      ? readable(path, () => statSync(path).isDirectory())
      : entry.isDirectory();
    return isFolder ? filesBelow(path) : [path];
  });
}

/** Orders names with runs of digits compared as numbers, and all else by code unit. */
export function naturalCompare(a: string, b: string): number {
  const partsA = a.match(/\d+|\D+/g) ?? [];
  const partsB = b.match(/\d+|\D+/g) ?? [];
  for (let index = 0; index < Math.min(partsA.length, partsB.length); index++) {
    const [partA, partB] = [partsA[index]!, partsB[index]!];
    if (partA === partB) continue;
    if (/^\d/.test(partA) && /^\d/.test(partB)) {
      const difference = BigInt(partA) - BigInt(partB);
      if (difference !== 0n) return difference < 0n ? -1 : 1;
    }
    return partA < partB ? -1 : 1; // also 01 against 1
  }
  return partsA.length - partsB.length;
}

/** A line without its end. */
export interface Line {
  text: string;
  /** Counted from 1. */
  number: number;
  /** False if bytes had to be replaced. */
  valid: boolean;
}

const chunkBytes = 1 << 20;

/**
 * The lines of a UTF-8 file, ended by LF or CRLF; a byte order mark at the beginning is removed.
 *
 * @param policy `replace` and `skip` both yield the line with U+FFFD in it and `valid: false`: the caller knows
 *   where its documents end. `error` throws.
 * @throws CorpusError if the file cannot be read, is UTF-16, or (policy `error`) has a line that is not UTF-8.
 */
export function* readLines(path: string, policy: InvalidUtf8Policy, report: ReadReport): Generator<Line> {
  const descriptor = readable(path, () => openSync(path, 'r'));
  report.files++;
  try {
    const chunk = Buffer.allocUnsafe(chunkBytes);
    // Pieces of a line that goes on past the chunk; joined once, so a huge line costs no repeated copying.
    let pending: Buffer[] = [];
    let number = 0;
    const take = (last: Buffer): Line => {
      number++;
      const bytes = pending.length === 0 ? last : Buffer.concat([...pending, last]);
      pending = [];
      return decodeLine(path, bytes, number, policy, report);
    };
    for (;;) {
      const count = readable(path, () => readSync(descriptor, chunk, 0, chunkBytes, null));
      if (count === 0) break;
      report.bytes += count;
      let start = 0;
      for (let end = chunk.indexOf(10); end >= 0 && end < count; end = chunk.indexOf(10, start)) {
        yield take(chunk.subarray(start, end));
        start = end + 1;
      }
      if (start < count) pending.push(Buffer.from(chunk.subarray(start, count)));
    }
    if (pending.length > 0) yield take(Buffer.alloc(0));
  } finally {
    closeSync(descriptor);
  }
}

function decodeLine(
  path: string,
  bytes: Buffer,
  number: number,
  policy: InvalidUtf8Policy,
  report: ReadReport,
): Line {
  let content = bytes;
  if (number === 1) {
    if ((content[0] === 0xff && content[1] === 0xfe) || (content[0] === 0xfe && content[1] === 0xff)) {
      throw new CorpusError(
        `${path} is UTF-16, expected UTF-8. Convert it, for example: iconv -f UTF-16 -t UTF-8 ${path} > converted.txt`,
      );
    }
    if (content[0] === 0xef && content[1] === 0xbb && content[2] === 0xbf) content = content.subarray(3);
  }
  if (content[content.length - 1] === 13) content = content.subarray(0, -1);
  const valid = isUtf8(content);
  if (!valid) {
    report.invalidUtf8Lines++;
    if (report.invalidUtf8Places.length < 10) report.invalidUtf8Places.push(`${path}:${number}`);
    if (policy === 'error') {
      throw new CorpusError(
        `${path}:${number} holds bytes that are not UTF-8. Convert the file (GB 18030 is common: ` +
          `iconv -f GB18030 -t UTF-8), or set invalidUtf8 to 'replace' or 'skip'.`,
      );
    }
  }
  try {
    return { text: content.toString('utf8'), number, valid };
  } catch (cause) {
    throw new CorpusError(
      `${path}:${number} is ${content.length} bytes long, more than one string can hold. Break it into lines.`,
      { cause },
    );
  }
}

/** Runs a file operation and turns its failure into a CorpusError that names the path. */
export function readable<T>(path: string, operation: () => T): T {
  try {
    return operation();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const reasons: Record<string, string> = {
      ENOENT: 'it does not exist. Check the path',
      EACCES: 'permission is missing. Check who may read it',
      EPERM: 'permission is missing. Check who may read it',
      EISDIR: 'it is a folder. Name a file',
      ENOTDIR: 'a part of its path is not a folder. Check the path',
    };
    const reason =
      (code === undefined ? undefined : reasons[code]) ?? `${(cause as Error).message}. Check the disk`;
    throw new CorpusError(`cannot read ${path}: ${reason}.`, { cause });
  }
}
