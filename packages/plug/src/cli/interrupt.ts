// Ctrl-C for long jobs: the first asks the job to stop (it saves and says how to resume), the second ends at once.
// The job must let Node breathe (an `await` of a timer or `setImmediate` each step), or no signal is ever seen.

/** Exit status of an interrupted command, as shells count it (128 + SIGINT). */
export const INTERRUPTED = 130;

// npm passes Ctrl-C on to a program that the terminal has already told, so the same key press arrives twice.
const SAME_PRESS_MS = 300;

/**
 * Runs a job that can be interrupted. The first SIGINT or SIGTERM aborts the signal given to it; the job then
 * saves and returns (or throws the signal's reason). A second one exits the process with status 130.
 */
export async function withInterrupt<Result>(
  work: (signal: AbortSignal) => Promise<Result> | Result,
): Promise<Result> {
  const controller = new AbortController();
  let firstAt: number | undefined;
  const onSignal = () => {
    const now = performance.now();
    if (firstAt === undefined) {
      firstAt = now;
      process.stderr.write(
        '\nStopping: the work so far is being saved. Press Ctrl-C again to stop at once.\n',
      );
      controller.abort();
    } else if (now - firstAt > SAME_PRESS_MS) {
      process.exit(INTERRUPTED);
    }
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

/** True for the error that an aborted signal makes of itself. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
