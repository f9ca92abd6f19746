// The tasks of docs/results.md: which file trains, which chooses the checkpoint, and which is scored once at the end.
import { join } from 'node:path';
import { type FinetuneTask, findTask, readExamples, type TaskExample } from '../openplug.js';

export interface ResultTask {
  name: string;
  task: FinetuneTask;
  train: TaskExample[];
  dev: TaskExample[];
  test: TaskExample[];
  /** Settings that differ from the defaults, the same for all systems: bounds on time. */
  settings: { epochs: number; maxLength: number };
}

interface Declared {
  task: string;
  folder: string;
  files: { train: string; dev?: string; test: string };
  settings: ResultTask['settings'];
}

const few = { train: 'train_few_all.json', dev: 'dev_few_all.json', test: 'test_public.json' };

const declared: Readonly<Record<string, Declared>> = {
  // Its test has no labels: dev is scored, and every tenth training row chooses the checkpoint.
  ocnli: {
    task: 'ocnli',
    folder: 'ocnli',
    files: { train: 'train.10k.json', test: 'dev.json' },
    settings: { epochs: 2, maxLength: 96 },
  },
  tnews: {
    task: 'fewclue-tnews',
    folder: 'fewclue/tnews',
    files: few,
    settings: { epochs: 8, maxLength: 64 },
  },
  iflytek: {
    task: 'fewclue-iflytek',
    folder: 'fewclue/iflytek',
    files: few,
    settings: { epochs: 3, maxLength: 96 },
  },
  csl: { task: 'fewclue-csl', folder: 'fewclue/csl', files: few, settings: { epochs: 4, maxLength: 192 } },
  cluewsc: {
    task: 'fewclue-cluewsc',
    folder: 'fewclue/cluewsc',
    files: few,
    settings: { epochs: 4, maxLength: 128 },
  },
  chid: { task: 'fewclue-chid', folder: 'fewclue/chid', files: few, settings: { epochs: 3, maxLength: 64 } },
};

export const resultTaskNames = Object.keys(declared);

/** The files of a task beneath the folder with `ocnli` and `fewclue`: what trains, and what is held back. */
export function resultFiles(name: string): { train: string; held: string[] } {
  const { folder, files } = declared[name]!;
  const { train, dev, test } = files;
  return {
    train: join(folder, train),
    held: [...(dev ? [dev] : []), test].map((file) => join(folder, file)),
  };
}

/** @param clue folder with `ocnli` and `fewclue` */
export async function readResultTask(clue: string, name: string): Promise<ResultTask> {
  const { task: taskName, folder, files, settings } = declared[name]!;
  const task = findTask(taskName);
  const read = async (file: string): Promise<TaskExample[]> =>
    (await readExamples([join(clue, folder, file)], task)).examples;
  const train = await read(files.train);
  const test = await read(files.test);
  if (files.dev) return { name, task, train, dev: await read(files.dev), test, settings };
  const chooses = (index: number): boolean => index % 10 === 9;
  return {
    name,
    task,
    train: train.filter((_, index) => !chooses(index)),
    dev: train.filter((_, index) => chooses(index)),
    test,
    settings,
  };
}
