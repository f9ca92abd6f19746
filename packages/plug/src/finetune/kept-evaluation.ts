// What an evaluation leaves in a run folder, for the studio and for people: the scores as `evaluations/NAME.json`, and
// as `errors/NAME.jsonl` what the model got wrong. A later one of the same name takes its place.
import { existsSync, mkdirSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import type { TaskScores } from './kinds.js';
import type { ShotScores } from './shots.js';
import type { FinetuneTask } from './task.js';
import type { WrittenScores } from './written-scores.js';

/** Content of `evaluations/NAME.json`. */
export interface KeptEvaluation {
  task: FinetuneTask;
  /** Folder of the model that was scored. */
  model: string;
  /** What was read. */
  files: readonly string[];
  scores: TaskScores | ShotScores;
  written?: WrittenScores;
  /** Examples of each label that were trained on; only of scores without a head. */
  shots?: number;
  calibrated?: boolean;
}

/** The run folder that made a model; undefined for a model that lies elsewhere. */
export function runOfModel(folder: string): string | undefined {
  const run = dirname(folder);
  return basename(folder) === 'model' && existsSync(join(run, 'settings.json')) ? run : undefined;
}

/** The split of a folder, or the name of the first file that was read. */
export function evaluationName(paths: readonly string[], files: readonly string[], split: string): string {
  const [file] = files;
  const named = file !== undefined && paths.includes(file);
  return named ? basename(file, extname(file)) : split;
}

/** @returns where it was written */
export function keepEvaluation(run: string, name: string, evaluation: KeptEvaluation): string {
  const path = join(run, 'evaluations', `${name}.json`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileAtomic.sync(path, `${JSON.stringify(evaluation, null, 2)}\n`);
  return path;
}
