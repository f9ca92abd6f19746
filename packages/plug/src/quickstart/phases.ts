// The quickstart's steps as files: each finished one leaves its result, so running again continues after the last.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';

interface PhaseRecord<Result> {
  seconds: number;
  result: Result;
}

/** Runs phases once each, and knows how much time the finished ones took. */
export class Phases {
  readonly #folder: string;
  #finishedSeconds = 0;

  constructor(out: string) {
    this.#folder = join(out, 'phases');
    mkdirSync(this.#folder, { recursive: true });
  }

  /** Seconds that all finished phases took. */
  get finishedSeconds(): number {
    return this.#finishedSeconds;
  }

  /**
   * The recorded result of `name`, or that of running it now.
   * An interrupted phase throws; what it saved itself is continued next time.
   */
  async run<Result>(name: string, body: () => Promise<Result> | Result): Promise<Result> {
    const path = join(this.#folder, `${name}.json`);
    if (existsSync(path)) {
      const record = JSON.parse(readFileSync(path, 'utf8')) as PhaseRecord<Result>;
      this.#finishedSeconds += record.seconds;
      return record.result;
    }
    const started = performance.now();
    const result = await body();
    const seconds = (performance.now() - started) / 1000;
    const record: PhaseRecord<Result> = { seconds, result };
    writeFileAtomic.sync(path, `${JSON.stringify(record, null, 2)}\n`);
    this.#finishedSeconds += seconds;
    // As JSON gives it back, so that a continued quickstart sees the same.
    return JSON.parse(JSON.stringify(result)) as Result;
  }
}
