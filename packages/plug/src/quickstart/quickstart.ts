// The main job: poems → vocabulary → stage 1 → stage 2 → two fine-tuned tasks → baselines → report.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readModelConfig } from '../checkpoint/index.js';
import { countParameters } from '../model/index.js';
import { mlmUntilStep } from '../pretrain/index.js';
import { RunFolder } from '../train/index.js';
import { taskBaselines } from './baselines.js';
import { testLanguageModel } from './language-model.js';
import type { QuickstartListener } from './listener.js';
import { Phases } from './phases.js';
import { buildPoetryCorpus, heldOutCouplets } from './poems.js';
import { writePoems } from './poems-written.js';
import { type QuickstartReport, writeReport } from './report.js';
import { type QuickstartSettings, shortRun, sizeDefaults, timeShares } from './settings.js';
import { makeTasks } from './tasks.js';
import { planStage, runGeneration, runStage, runUnderstanding } from './training.js';

/** Training couplets of the tasks at most. */
const maxTrainCouplets = 9000;

/**
 * Runs, or continues, the quickstart in `settings.out`.
 * @throws the signal's reason when interrupted; calling again continues
 */
export async function quickstart(
  settings: QuickstartSettings,
  listener: QuickstartListener,
  signal: AbortSignal,
): Promise<QuickstartReport> {
  const { out, seed } = settings;
  mkdirSync(out, { recursive: true });
  new RunFolder(out).claimSettings({ kind: 'quickstart', ...settings, out: '.' });
  const phases = new Phases(out);
  const seconds = (share: number): number => share * settings.minutes * 60;
  const { poemLimit } = sizeDefaults(settings.size);

  listener.say('Reading Tang poems, training the vocabulary, writing the corpus');
  const poems = await phases.run('corpus', () => buildPoetryCorpus(out, poemLimit));
  signal.throwIfAborted();

  listener.say(
    `Stage 1: StructBERT encoder on ${poems.summary.train.tokens} tokens (masked LM, word order, sentence order)`,
  );
  const steps1 = await phases.run('stage1-plan', () =>
    planStage(settings, poems, 1, seconds(timeShares.stage1)),
  );
  const stage1 = await phases.run('stage1', () => runStage(settings, poems, 1, steps1, listener, signal));

  listener.say(
    `Stage 2: encoder-decoder, ${shortRun.minSideLength} to ${shortRun.maxSideLength} tokens on each side (published: 32 to 512; poems are short)`,
  );
  const steps2 = await phases.run('stage2-plan', () =>
    planStage(settings, poems, 2, seconds(timeShares.stage2)),
  );
  const stage2 = await phases.run('stage2', () => runStage(settings, poems, 2, steps2, listener, signal));
  const model = join(out, 'stage2', 'model');

  listener.say('Testing the language model against a 5-gram model');
  const languageModel = await phases.run('language-model', () => testLanguageModel(poems, model));
  signal.throwIfAborted();

  const data = makeTasks(heldOutCouplets(poemLimit), seed, maxTrainCouplets);
  listener.say(
    `Understanding task: does this lower line follow that upper line? ${data.follows.train.length} examples`,
  );
  const understanding = await phases.run('understanding', () =>
    runUnderstanding(settings, data, listener, signal),
  );
  listener.say(`Generation task: upper line → lower line. ${data.lowerLine.train.length} examples`);
  const generation = await phases.run('generation', () => runGeneration(settings, data, listener, signal));

  listener.say('Training the plain baselines of both tasks');
  const baselines = await phases.run('baselines', () => taskBaselines(data));
  signal.throwIfAborted();
  const written = await phases.run('poems', () => writePoems(model, seed));

  const report: QuickstartReport = {
    settings,
    poems,
    numParameters: countParameters(readModelConfig(model)),
    seconds: phases.finishedSeconds,
    stages: {
      stage1: { steps: steps1, scores: stage1.scores },
      stage2: {
        steps: steps2,
        beforeSwitch: scoresAtSwitch(join(out, 'stage2'), steps2),
        scores: stage2.scores,
      },
    },
    languageModel,
    understanding,
    generation,
    baselines,
    written,
    followsLabels: data.follows.test!.map(({ label }) => label),
  };
  await writeReport(report);
  return report;
}

function scoresAtSwitch(folder: string, totalSteps: number): Record<string, number> {
  const step = mlmUntilStep({ mlmFraction: 0.9, totalSteps });
  const {
    kind: _kind,
    step: _step,
    ...scores
  } = new RunFolder(folder).metrics().find((line) => line.kind === 'evaluate' && line.step === step) ?? {};
  return scores as Record<string, number>;
}
