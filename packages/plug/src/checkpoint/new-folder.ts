// A folder that appears whole or not at all.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { CheckpointError } from '../errors.js';

/** What a long piece of writing is given. */
export interface WritingOptions {
  /** Called after each tensor, with bytes. */
  readonly onProgress?: (writtenBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Has `write` fill a folder beside `out`, which then gets that name. What an earlier, killed attempt left is removed.
 * @param bytes that will be written, about
 * @throws CheckpointError when `out` has something in it already or the disk is too small; else what `write` throws.
 *   Nothing is then left behind.
 */
export async function writeNewFolder<Result>(
  out: string,
  bytes: number,
  write: (folder: string) => Promise<Result>,
): Promise<Result> {
  checkNewFolder(out);
  const unfinished = `${resolve(out)}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  try {
    const { bavail, bsize } = statfsSync(dirname(unfinished));
    if (bavail * bsize < bytes)
      throw new CheckpointError(
        `${out} would take ${gigabytes(bytes)}, but ${gigabytes(bavail * bsize)} are free on its disk. ` +
          'Free some space, choose another disk, or store the weights in fewer bits.',
      );
    const result = await write(unfinished);
    renameSync(unfinished, out);
    return result;
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  }
}

/** @throws CheckpointError when `out` has something in it already; for work that comes before the writing */
export function checkNewFolder(out: string): void {
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new CheckpointError(`${out} is not empty. Choose a new folder, or remove what is there.`);
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toPrecision(3)} GB`;
}
