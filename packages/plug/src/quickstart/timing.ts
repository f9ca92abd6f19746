// How many steps fit into a time: measured by taking a few with the real settings.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MetricsLine } from '../train/index.js';

const measuredSteps = 10;
/** The first steps prepare kernels and read the corpus for the first time. */
const warmUpSteps = 3;

/**
 * Steps of a training that fit into `seconds`, at least 10.
 * @param run trains for a number of steps into a folder, telling `onStep` of each
 */
export async function stepsWithin(
  seconds: number,
  run: (folder: string, totalSteps: number, onStep: (line: MetricsLine) => void) => Promise<unknown>,
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'openplug-timing-'));
  try {
    const ends: number[] = [];
    const started = performance.now();
    await run(folder, measuredSteps, () => ends.push(performance.now()));
    const measuring = (performance.now() - started) / 1000;
    const perStep = (ends.at(-1)! - ends[warmUpSteps - 1]!) / (ends.length - warmUpSteps) / 1000;
    return Math.max(10, Math.round((seconds - measuring) / perStep));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
