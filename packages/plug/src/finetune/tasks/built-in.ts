// The tasks that are known by name, and those of files.
import { existsSync } from 'node:fs';
import { nearestName } from '../../config/index.js';
import { ConfigError } from '../../errors.js';
import { readJson } from '../json.js';
import { type FinetuneTask, parseTask } from '../task.js';
import { clueTasks } from './clue.js';
import { fewClueTasks } from './fewclue.js';
import { generationTasks } from './generation.js';
import { prompts } from './prompts.js';

export const builtInTasks: readonly FinetuneTask[] = [...clueTasks, ...fewClueTasks, ...generationTasks].map(
  withPrompt,
);

/** Labels that are words themselves need no others. */
function withPrompt(task: FinetuneTask): FinetuneTask {
  if (task.kind !== 'classification') return task;
  const prompt = prompts[task.name.replace(/^fewclue-/, '')] ?? {
    source: '{text}',
    before: '类别：',
    words: task.labels,
  };
  return { ...task, prompt };
}

/**
 * The task of a name, or of a JSON file.
 * @throws ConfigError for an unknown name, or a file that is no task
 */
export function findTask(nameOrFile: string): FinetuneTask {
  const builtIn = builtInTasks.find(({ name }) => name === nameOrFile);
  if (builtIn) return builtIn;
  if (existsSync(nameOrFile)) return parseTask(readJson(nameOrFile), nameOrFile);
  const names = builtInTasks.map(({ name }) => name);
  const nearest = nearestName(nameOrFile, names);
  throw new ConfigError(
    `"${nameOrFile}" is neither a known task nor a file. ${nearest ? `Did you mean "${nearest}"? ` : ''}` +
      `Known: ${names.join(', ')}; or give a JSON file with name, kind, columns, labels and metric.`,
  );
}
