// `--profile FILE`: a Chrome trace of the operators that ran, and the most expensive ones on stderr.
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { chromeTrace, operatorTimes, type ProfileEvent, profiled } from '@openplug/torch';
import writeFileAtomic from 'write-file-atomic';
import { formatColumns } from '../config/index.js';
import { ConfigError } from '../errors.js';

const numShown = 10;
const widestShapes = 60;

/** @throws ConfigError when a file cannot be written there: better now than after the work */
export function checkProfilePath(file: string | undefined): void {
  if (file !== undefined && !existsSync(dirname(file)))
    throw new ConfigError(`The profile cannot be written to ${file}: there is no folder ${dirname(file)}.`);
}

/** Runs `body`, and with a `file` profiles it. */
export async function withProfile<Result>(
  file: string | undefined,
  body: () => Promise<Result>,
): Promise<Result> {
  if (file === undefined) return body();
  const { result, events } = await profiled(body);
  process.stderr.write(`${writeProfile(file, events)}\n`);
  return result;
}

/** Writes the trace, whole or not at all, and gives the table of the most expensive operators. */
export function writeProfile(file: string, events: readonly ProfileEvent[]): string {
  writeFileAtomic.sync(file, chromeTrace(events));
  const times = operatorTimes(events);
  const totalUs = times.reduce((sum, { selfUs }) => sum + selfUs, 0);
  const rows = times
    .slice(0, numShown)
    .map(({ name, shapes, count, selfUs }) => [
      name,
      `${count}`,
      (selfUs / 1000).toFixed(2),
      `${((100 * selfUs) / totalUs).toFixed(1)} %`,
      shapes.length > widestShapes ? `${shapes.slice(0, widestShapes)}…` : shapes,
    ]);
  const heading = `Profile of ${(totalUs / 1000).toFixed(1)} ms in operators: ${file} (open it in ui.perfetto.dev)`;
  return `${heading}\n${formatColumns([['operator', 'calls', 'own ms', 'share', 'shapes'], ...rows])}`;
}
