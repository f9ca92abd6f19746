// Files of JSON lines that grow while they are read. Nothing of a file is trusted: lines that are too long or no JSON
// objects are skipped, links are not followed, and a file is never in memory as a whole.
import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';

const chunkBytes = 256 * 1024;
const maxLineBytes = 256 * 1024;

/** Reads what was appended since the last call, from the beginning when the file was replaced. */
export class JsonLinesReader {
  readonly #path: string;
  readonly #tailBytes: number;
  readonly #onRestart: () => void;
  readonly #onLine: (line: Record<string, unknown>) => void;
  #inode = 0;
  #offset = 0;
  #reading: Promise<void> = Promise.resolve();

  /**
   * @param onRestart all lines so far are void
   * @param tailBytes of a file that is new to the reader, only so much of the end is read
   */
  constructor(
    path: string,
    onRestart: () => void,
    onLine: (line: Record<string, unknown>) => void,
    tailBytes = Number.POSITIVE_INFINITY,
  ) {
    this.#path = path;
    this.#tailBytes = tailBytes;
    this.#onRestart = onRestart;
    this.#onLine = onLine;
  }

  /** Hands over all new whole lines; calls take turns. A file that is not there has none. */
  update(): Promise<void> {
    this.#reading = this.#reading.catch(() => undefined).then(() => this.#read());
    return this.#reading;
  }

  async #read(): Promise<void> {
    const found = await lstat(this.#path).catch(() => undefined);
    // A run that is continued rewrites its files: another inode, or fewer bytes.
    if (!found || found.ino !== this.#inode || found.size < this.#offset) {
      this.#onRestart();
      this.#inode = found?.ino ?? 0;
      // The piece of a line that this begins with is no JSON.
      this.#offset = Math.max(0, (found?.size ?? 0) - this.#tailBytes);
    }
    if (!found?.isFile() || found.size === this.#offset) return;
    await using file = await open(this.#path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const buffer = Buffer.alloc(Math.min(maxLineBytes + chunkBytes, found.size - this.#offset));
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, this.#offset);
      const bytes = buffer.subarray(0, bytesRead);
      const end = bytes.lastIndexOf(0x0a) + 1;
      for (const text of bytes.toString('utf8', 0, end).split('\n')) {
        const line = parsed(text);
        if (line) this.#onLine(line);
      }
      // A buffer without a line's end, full though it is, is one line that is too long: skipped.
      const done = end === 0 && bytesRead > maxLineBytes ? bytesRead : end;
      this.#offset += done;
      if (bytesRead < buffer.length || done === 0) return;
    }
  }
}

function parsed(text: string): Record<string, unknown> | undefined {
  if (text === '' || text.length > maxLineBytes) return undefined;
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === 'object' && line !== null ? (line as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
