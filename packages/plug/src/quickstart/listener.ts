// How the quickstart tells what it does; the command draws it.

/** One bar of progress. */
export interface PhaseProgress {
  update(done: number, fields?: Record<string, string>): void;
  note(line: string): void;
  finish(line?: string): void;
}

export interface QuickstartListener {
  /** A line of its own. */
  say(line: string): void;
  progress(label: string, total: number, unit: string): PhaseProgress;
}
