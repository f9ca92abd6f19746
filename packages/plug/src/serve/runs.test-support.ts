// A folder of real runs of a few steps: a quickstart's two stages, one that was stopped, and a fine-tuned classifier.
import { join } from 'node:path';
import { springExamples, springTask, writeTestModel } from '../finetune/finetune.test-support.js';
import { finetune } from '../finetune/index.js';
import { pretrain } from '../pretrain/index.js';
import { nanoSettings, writeTestCorpus } from '../pretrain/pretrain.test-support.js';

export const totalSteps = 40;

/** Trains them in `folder`; returns the folder of runs. */
export async function writeRuns(folder: string): Promise<string> {
  const root = join(folder, 'runs');
  const places = writeTestCorpus(join(folder, 'texts'));
  const nano = { ...places, totalSteps, evaluateEvery: 10, accumulationSteps: 1, initializerRange: 0.1 };
  const stage1 = join(root, 'quickstart', 'stage1');
  await pretrain(nanoSettings({ ...nano, out: stage1, stage: 1 }));
  await pretrain(nanoSettings({ ...nano, out: join(root, 'quickstart', 'stage2'), stage: 2, init: stage1 }));
  const stop = new AbortController();
  await pretrain(
    nanoSettings({ ...nano, out: join(root, '名字很长的训练-'.repeat(6)), stage: 2, init: stage1 }),
    { onStep: ({ step }) => step === 12 && stop.abort() },
    stop.signal,
  );
  await finetune(
    springTask,
    { train: springExamples(1, 24), dev: springExamples(2, 8) },
    {
      model: writeTestModel(folder),
      out: join(root, 'spring', 'seed-1'),
      maxSteps: 6,
      evaluateEvery: 3,
      threads: 1,
      dtype: 'float32',
    },
  );
  return root;
}
