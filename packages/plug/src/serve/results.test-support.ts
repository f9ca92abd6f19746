// A folder of small finished runs, made as plug finetune and plug evaluate make them.
import { join } from 'node:path';
import {
  copyExamples,
  copyTask,
  pairTask,
  springExamples,
  springTask,
  temporaryFolder,
  writeTestModel,
} from '../finetune/finetune.test-support.js';
import {
  type ClassificationTask,
  evaluateTask,
  finetune,
  keepEvaluation,
  loadTaskModel,
  type PlugGenerator,
  runTrials,
  seedChanges,
  writeErrors,
  writtenScores,
} from '../finetune/index.js';

/** Errors of `clue/ocnli/dev`, for what is asked of them. */
export const numDev = 60;

/** A task of the board, on the examples of a small one. */
export const boardTask: ClassificationTask = { ...springTask, name: 'ocnli' };

export interface TestRuns {
  /** The runs folder. */
  folder: string;
  /** A model with a decoder, from which they started. */
  model: string;
}

/** Runs of a task of the board, of another with two seeds, and of a generation task with its evaluation. */
export async function makeTestRuns(): Promise<TestRuns> {
  const home = temporaryFolder();
  const folder = join(home, 'runs');
  const model = writeTestModel(home, { maxPositionEmbeddings: 48 });
  const few = { model, maxSteps: 2, threads: 1, dtype: 'float32', learningRate: 1e-4 } as const;

  const spring = { train: springExamples(1, 16), dev: springExamples(2, numDev) };
  await finetune(boardTask, spring, { ...few, out: join(folder, 'clue', 'ocnli') });
  await finetune({ ...boardTask, name: 'csl' }, spring, { ...few, out: join(folder, 'clue', 'csl') });
  const chain = {
    train: springExamples(3, 16).map((example) => ({ ...example, textPair: '明月共潮生' })),
    test: springExamples(4, 24).map((example) => ({ ...example, textPair: '春江潮水連海平' })),
  };
  await runTrials(pairTask, chain, { ...few, out: join(folder, 'chain') }, seedChanges(1, 2));

  const copy = { train: copyExamples(1, 16), dev: copyExamples(2, 12) };
  const out = join(folder, 'copy');
  await finetune(copyTask, copy, { ...few, out });
  using generator = loadTaskModel(out);
  const { rows, scores: written } = await writtenScores(generator as PlugGenerator, copy.dev, 8);
  const { scores } = evaluateTask(generator, copy.dev);
  keepEvaluation(out, 'dev', {
    task: copyTask,
    model: join(out, 'model'),
    files: ['dev.json'],
    scores,
    written,
  });
  writeErrors(out, 'dev', copyTask, copy.dev, rows);
  return { folder, model };
}
