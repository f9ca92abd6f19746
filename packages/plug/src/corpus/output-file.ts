// A binary file that is written from front to back, buffered, and hashed on the way.
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { CorpusError } from '../errors.js';
import type { TokenFileEntry } from './token-format.js';

const bufferBytes = 1 << 18;

export class OutputFile {
  /** Bytes given to `write` so far. */
  bytes = 0;
  private readonly hash = createHash('sha256');
  private readonly buffer = Buffer.allocUnsafe(bufferBytes);
  private buffered = 0;
  private readonly path: string;
  private descriptor: number | undefined;

  /** Creates the file, which must not exist. */
  constructor(
    folder: string,
    private readonly name: string,
  ) {
    this.path = join(folder, name);
    this.descriptor = writing(this.path, () => openSync(this.path, 'wx'));
  }

  write(data: NodeJS.TypedArray): void {
    const content = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    this.bytes += content.length;
    if (this.buffered + content.length > bufferBytes) this.flush();
    if (content.length > bufferBytes) {
      this.writeOut(content);
    } else {
      content.copy(this.buffer, this.buffered);
      this.buffered += content.length;
    }
  }

  /** Writes what is left, waits until the disk has it, and closes the file. */
  finish(): TokenFileEntry {
    this.flush();
    writing(this.path, () => fsyncSync(this.descriptor!));
    this.close();
    return { file: this.name, bytes: this.bytes, sha256: this.hash.digest('hex') };
  }

  /** Closes the file; does nothing if it is closed. */
  close(): void {
    if (this.descriptor === undefined) return;
    closeSync(this.descriptor);
    this.descriptor = undefined;
  }

  private flush(): void {
    this.writeOut(this.buffer.subarray(0, this.buffered));
    this.buffered = 0;
  }

  private writeOut(content: Buffer): void {
    this.hash.update(content);
    writing(this.path, () => {
      for (let done = 0; done < content.length; ) done += writeSync(this.descriptor!, content, done);
    });
  }
}

/** Runs a file operation and turns its failure (a full disk, no permission) into a CorpusError. */
export function writing<T>(path: string, operation: () => T): T {
  try {
    return operation();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const next = code === 'ENOSPC' ? 'Free some space' : 'Check the folder and who may write to it';
    throw new CorpusError(`cannot write ${path}: ${message}. ${next}, then start again.`, { cause });
  }
}
