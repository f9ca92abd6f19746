// A run is a folder: settings.json, metrics.jsonl, samples.jsonl where texts are written, checkpoints/step-N/, and at
// the end model/. Any of it can be read while the run goes on, and a run can be continued from it after a crash at any
// moment.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { CheckpointError, ConfigError } from '../errors.js';

/** One line of metrics.jsonl. `kind` tells training steps from evaluations. */
export interface MetricsLine {
  kind: 'train' | 'evaluate';
  step: number;
  [name: string]: number | string;
}

/** What the model wrote after one held-out source. */
export interface TextSample {
  source: string;
  /** By the model. */
  written: string;
  /** How the text really went on. */
  target: string;
}

/** One line of samples.jsonl: texts written at one step. */
export interface SamplesLine {
  step: number;
  samples: TextSample[];
}

/** Begins the names of folders that are not whole yet. */
const writingPrefix = '.writing-';

export class RunFolder {
  readonly path: string;
  readonly #checkpoints: string;
  readonly #metrics: string;
  readonly #samples: string;

  /** Opens or makes the folder. */
  constructor(path: string) {
    this.path = path;
    this.#checkpoints = join(path, 'checkpoints');
    this.#metrics = join(path, 'metrics.jsonl');
    this.#samples = join(path, 'samples.jsonl');
    mkdirSync(this.#checkpoints, { recursive: true });
  }

  /**
   * Records the settings of the run; those of an earlier start of the same run must be the same.
   * @throws ConfigError naming the first setting that differs
   */
  claimSettings(settings: Record<string, unknown>): void {
    const path = join(this.path, 'settings.json');
    const wanted = JSON.parse(JSON.stringify(settings)) as Record<string, unknown>;
    if (existsSync(path)) {
      const before = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
      for (const key of new Set([...Object.keys(before), ...Object.keys(wanted)])) {
        const [old, now] = [JSON.stringify(before[key]), JSON.stringify(wanted[key])];
        if (old !== now)
          throw new ConfigError(
            `${this.path} holds a run with ${key} = ${old}, now it is ${now}. Use the same settings to continue, or another folder.`,
          );
      }
    } else writing(path, () => writeFileAtomic.sync(path, `${JSON.stringify(wanted, null, 2)}\n`));
  }

  /** Appends one line of metrics. */
  record(line: MetricsLine): void {
    appendLine(this.#metrics, line);
  }

  /** Appends one line of texts. */
  recordSamples(line: SamplesLine): void {
    appendLine(this.#samples, line);
  }

  /** All whole lines of metrics so far. */
  metrics(): MetricsLine[] {
    return readLines<MetricsLine>(this.#metrics);
  }

  /** All whole lines of texts so far. */
  samples(): SamplesLine[] {
    return readLines<SamplesLine>(this.#samples);
  }

  /** Drops metrics and texts past `step`: a run that continues there will write them again. */
  rewind(step: number): void {
    for (const path of [this.#metrics, this.#samples]) {
      if (!existsSync(path)) continue;
      const kept = readLines<{ step: number }>(path).filter((line) => line.step <= step);
      const text = kept.map((line) => `${JSON.stringify(line)}\n`).join('');
      writing(path, () => writeFileAtomic.sync(path, text));
    }
  }

  /** Removes what killed writes left. Only for who continues the run: another process may be writing it now. */
  removeLeftovers(): void {
    for (const folder of [this.path, this.#checkpoints])
      for (const name of readdirSync(folder))
        if (name.startsWith(writingPrefix)) rmSync(join(folder, name), { recursive: true, force: true });
  }

  /** Steps that have a finished checkpoint, newest first. */
  checkpointSteps(): number[] {
    const steps = readdirSync(this.#checkpoints).flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? []);
    return steps.map(Number).sort((a, b) => b - a);
  }

  checkpointPath(step: number): string {
    return join(this.#checkpoints, `step-${String(step).padStart(8, '0')}`);
  }

  /**
   * Has `write` fill a folder under another name, and gives it its own name once it is whole.
   * Afterwards only the newest `keepLast` checkpoints are left.
   */
  writeCheckpoint(step: number, keepLast: number, write: (folder: string) => void): void {
    const final = this.checkpointPath(step);
    writeWhole(join(this.#checkpoints, `${writingPrefix}${step}`), final, write);
    for (const old of this.checkpointSteps().slice(keepLast))
      rmSync(this.checkpointPath(old), { recursive: true, force: true });
  }

  /** Has `write` fill the folder of the finished model, which appears whole. Returns its path. */
  writeModel(write: (folder: string) => void): string {
    const final = join(this.path, 'model');
    writeWhole(join(this.path, `${writingPrefix}model`), final, write);
    return final;
  }
}

function appendLine(path: string, line: object): void {
  writing(path, () => appendFileSync(path, `${JSON.stringify(line)}\n`));
}

/** The whole lines of a file that may not be there yet. */
function readLines<Line>(path: string): Line[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  lines.pop(); // the empty rest after the last newline, or a line cut short by a crash
  return lines.map((line) => JSON.parse(line) as Line);
}

/** Fills `temporary` and gives it the name `final`; nothing of it stays when writing fails. */
function writeWhole(temporary: string, final: string, write: (folder: string) => void): void {
  writing(final, () => {
    rmSync(temporary, { recursive: true, force: true });
    try {
      mkdirSync(temporary, { recursive: true });
      write(temporary);
      rmSync(final, { recursive: true, force: true });
      renameSync(temporary, final);
    } catch (error) {
      rmSync(temporary, { recursive: true, force: true });
      throw error;
    }
  });
}

/** Says of the system's errors what could not be written and what to do; others have words of their own. */
function writing(path: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new CheckpointError(
      `Cannot write ${path}: ${(error as Error).message}. The last checkpoint is untouched: put this right (free ` +
        'some space?) and start the run again to continue.',
      { cause: error },
    );
  }
}
