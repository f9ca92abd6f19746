// `task.json` in a model folder: what a fine-tuned model was made for.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import { CheckpointError } from '../errors.js';
import type { Tokenizer } from '../text/index.js';
import { readJson } from './json.js';
import { taskSchema } from './task.js';

const schema = z.strictObject({
  task: taskSchema,
  /** Longest encoder input, special tokens included. */
  maxLength: z.int().min(4),
  /** Longest decoder input; generation only. */
  maxTargetLength: z.int().min(2).optional(),
});

/** The task and the lengths that the model was fine-tuned with. */
export type TaskFile = z.infer<typeof schema>;

const fileName = 'task.json';

export function writeTaskFile(folder: string, content: TaskFile): void {
  writeFileAtomic.sync(join(folder, fileName), `${JSON.stringify(content, null, 2)}\n`);
}

/** Undefined when the folder has none. @throws CheckpointError when it is damaged */
export function readTaskFile(folder: string): TaskFile | undefined {
  const path = join(folder, fileName);
  if (!existsSync(path)) return undefined;
  const checked = schema.safeParse(readJson(path));
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw new CheckpointError(`${path}: ${issue?.path.join('.')}: ${issue?.message}.`);
}

/** @throws CheckpointError when the tokenizer's vocabulary is not the model's */
export function checkVocabulary(folder: string, tokenizer: Tokenizer, originalVocabSize: number): void {
  if (tokenizer.vocabSize !== originalVocabSize)
    throw new CheckpointError(
      `${folder}: config.json has ${originalVocabSize} vocabulary entries, vocab.txt ${tokenizer.vocabSize}.`,
    );
}
