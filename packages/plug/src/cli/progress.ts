// Progress on stderr: a bar with rate and time left on a terminal, a line every ten seconds elsewhere (logs).
import { type Options, SingleBar } from 'cli-progress'; // draws and throttles the bar
import stringWidth from 'string-width';

export interface ProgressOptions {
  /** What is going on: "stage 1". */
  readonly label: string;
  /** Amount of work in `unit`; 0 when unknown. */
  readonly total: number;
  /** What is counted: "steps", "tokens", "documents". */
  readonly unit: string;
  /** Work done before this process began, as after a resume; it does not count towards the rate (default 0). */
  readonly startAt?: number;
  /** Where to write (default stderr). */
  readonly stream?: NodeJS.WriteStream;
  /** Least time between two lines when the stream is no terminal (default 10,000 ms). */
  readonly lineIntervalMs?: number;
}

export interface Progress {
  /** Work done so far, in all, and short facts to show with it, as { loss: '3.21' }. Cheap: call it at each step. */
  update(done: number, fields?: Record<string, string>): void;
  /** A line that stays, above the bar. */
  note(line: string): void;
  /** Ends the bar and leaves one line: the one given, or the final state. */
  finish(line?: string): void;
}

const RATE_WINDOW_MS = 30_000;
const LINE_INTERVAL_MS = 10_000;
const running = new Set<Progress>();

/** Begins to show the progress of one job. One at a time is shown well. */
export function createProgress(options: ProgressOptions): Progress {
  const stream = options.stream ?? process.stderr;
  const meter = new Meter(options);
  const draw = stream.isTTY ? terminalBar(meter, stream) : lineWriter(meter, stream, options.lineIntervalMs);
  const progress: Progress = {
    update(done, fields) {
      meter.update(done, fields);
      draw.refresh();
    },
    note: (line) => draw.note(line),
    finish(line) {
      if (!running.delete(progress)) return;
      draw.end();
      stream.write(`${line ?? meter.line(Number.POSITIVE_INFINITY)}\n`);
    },
  };
  running.add(progress);
  return progress;
}

/** Ends whatever is still shown, so that an error prints on a line of its own and no timer keeps Node alive. */
export function stopProgress(): void {
  for (const progress of running) progress.finish();
}

/** Seconds as "45 s", "3 min 05 s", "2 h 07 min". */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const [large, small, units] =
    whole < 3600
      ? [Math.floor(whole / 60), whole % 60, ['min', 's']]
      : [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), ['h', 'min']];
  return `${large} ${units[0]} ${String(small).padStart(2, '0')} ${units[1]}`;
}

/** Cuts a text to a number of terminal columns, counting full-width characters as two. */
export function fitColumns(text: string, columns: number): string {
  if (stringWidth(text) <= columns) return text;
  let kept = '';
  let width = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    width += stringWidth(segment);
    if (width > columns - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** Keeps the count, the rate over the last half minute, and the fields. */
class Meter {
  readonly total: number;
  private readonly label: string;
  private readonly unit: string;
  private readonly startedAt = performance.now();
  private readonly samples: { time: number; done: number }[];
  private fields: Record<string, string> = {};
  done: number;

  constructor({ label, total, unit, startAt = 0 }: ProgressOptions) {
    this.label = label;
    this.total = total;
    this.unit = unit;
    this.done = startAt;
    this.samples = [{ time: this.startedAt, done: startAt }];
  }

  update(done: number, fields: Record<string, string> = {}): void {
    this.done = done;
    Object.assign(this.fields, fields);
    const time = performance.now();
    const last = this.samples.at(-1);
    if (!last || time - last.time >= 250) this.samples.push({ time, done });
    while (this.samples.length > 2 && time - (this.samples[0]?.time ?? 0) > RATE_WINDOW_MS)
      this.samples.shift();
  }

  /** Work per second of late; 0 when nothing is known yet. */
  rate(): number {
    const first = this.samples[0];
    if (!first) return 0;
    const seconds = (performance.now() - first.time) / 1000;
    return seconds > 0 ? Math.max(0, this.done - first.done) / seconds : 0;
  }

  /** Label, bar, share, count, rate, time left (or, at the end, time taken) and the fields, within the columns. */
  line(columns: number, bar = ''): string {
    const rate = this.rate();
    const elapsed = (performance.now() - this.startedAt) / 1000;
    const left = rate > 0 ? (this.total - this.done) / rate : Number.POSITIVE_INFINITY;
    const parts = [this.label];
    if (this.total > 0) {
      parts.push(`${bar}${Math.floor((100 * this.done) / this.total)}%`);
      parts.push(`${formatCount(this.done)}/${formatCount(this.total)} ${this.unit}`);
    } else {
      parts.push(`${formatCount(this.done)} ${this.unit}`);
    }
    if (rate > 0) parts.push(`${formatCount(rate)}/s`);
    if (this.total > this.done) parts.push(`${formatDuration(left)} left`);
    else parts.push(formatDuration(elapsed));
    for (const [name, value] of Object.entries(this.fields)) parts.push(`${name} ${value}`);
    return fitColumns(parts.join(' · '), columns);
  }
}

interface Drawing {
  refresh(): void;
  note(line: string): void;
  end(): void;
}

function terminalBar(meter: Meter, stream: NodeJS.WriteStream): Drawing {
  const format: Options['format'] = (_, { progress }) => {
    const columns = (stream.columns || 80) - 1;
    // The bar gives way to the figures on narrow terminals.
    const width = Math.max(8, Math.min(24, Math.floor(columns / 6)));
    const filled = Math.round(Math.min(1, Math.max(0, progress)) * width);
    const bar = meter.total > 0 ? `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ` : '';
    return meter.line(columns, bar);
  };
  // The line is cut here by columns; the library would cut it by UTF-16 units, too late for Chinese text.
  const open = () => {
    const bar = new SingleBar({
      format,
      stream,
      clearOnComplete: true,
      linewrap: true,
      fps: 5,
      forceRedraw: true,
    });
    bar.start(meter.total || 1, Math.min(meter.done, meter.total || 1));
    return bar;
  };
  let bar = open();
  return {
    refresh: () => bar.update(Math.min(meter.done, meter.total || 1)),
    note(line) {
      // The library returns to where the bar began when it stops, so the line goes between two bars.
      bar.stop();
      stream.write(`${line}\n`);
      bar = open();
    },
    end: () => bar.stop(),
  };
}

function lineWriter(meter: Meter, stream: NodeJS.WriteStream, intervalMs = LINE_INTERVAL_MS): Drawing {
  let writtenAt = performance.now();
  return {
    refresh() {
      const now = performance.now();
      if (now - writtenAt < intervalMs) return;
      writtenAt = now;
      stream.write(`${meter.line(Number.POSITIVE_INFINITY)}\n`);
    },
    note: (line) => void stream.write(`${line}\n`),
    end() {},
  };
}

function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)}G`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(2)}M`;
  if (count >= 1e4) return `${(count / 1e3).toFixed(1)}k`;
  return Number.isInteger(count) ? String(count) : count.toFixed(count < 10 ? 2 : 0);
}
