// What each stage trains on, step by step, through whole runs of nano models.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { liveTensorBytes, liveTensorCount, scope } from '@openplug/torch';
import { openTokenCorpus } from '../corpus/index.js';
import { ConfigError } from '../errors.js';
import { newParameters, PlugModel, plugConfigOfSize } from '../model/index.js';
import { mlmUntilStep, pretrain, stage2Objective } from './index.js';
import {
  contentsOf,
  metricsOf,
  nanoSettings,
  temporaryFolder,
  testTokenizer,
  writeTestCorpus,
} from './pretrain.test-support.js';
import { createStage2Sampler } from './samples/index.js';

const folder = temporaryFolder();
const places = writeTestCorpus(folder);
let runs = 0;
const nextOut = (): string => join(folder, `run ${++runs}`);

describe('the masked LM of stage 2', () => {
  it('goes on for nine steps in ten, rounded down', () => {
    for (let tens = 1; tens <= 20_000; tens++)
      assert.equal(mlmUntilStep({ mlmFraction: 0.9, totalSteps: 10 * tens }), 9 * tens);
    assert.equal(mlmUntilStep({ mlmFraction: 0.9, totalSteps: 15 }), 13);
    assert.equal(mlmUntilStep({ mlmFraction: 0, totalSteps: 15 }), 0);
    assert.equal(mlmUntilStep({ mlmFraction: 1, totalSteps: 15 }), 15);
  });

  it('is in the loss up to the switch and not after; held-out scores right before it are recorded', async () => {
    const out = nextOut();
    const settings = nanoSettings({ ...places, out, stage: 2, totalSteps: 15, evaluateEvery: 0 });
    const { scores } = await pretrain(settings);
    const lines = metricsOf(out);
    for (const line of lines.filter(({ kind }) => kind === 'train')) {
      const mlm = line.step <= 13 ? Number(line.mlmLoss) : 0;
      assert.equal('mlmLoss' in line, line.step <= 13, `step ${line.step}`);
      assert.ok(Math.abs(Number(line.loss) - Number(line.lmLoss) - mlm) < 1e-5, `step ${line.step}`);
    }
    const evaluations = lines.filter(({ kind }) => kind === 'evaluate');
    assert.deepEqual(
      evaluations.map(({ step }) => step),
      [13, 15],
    );
    for (const { perplexity, bitsPerCharacter, mlmAccuracy, lmLoss } of evaluations) {
      assert.ok(Number(perplexity) > 1 && Number(bitsPerCharacter) > 0 && Number(mlmAccuracy) >= 0);
      assert.ok(Math.abs(Math.log(Number(perplexity)) - Number(lmLoss)) < 1e-9);
    }
    const { kind: _, step: __, ...last } = evaluations[1]!;
    assert.deepEqual(scores, last);
  });

  it('masks the sources up to the switch, and leaves them whole after', () => {
    using corpus = open('train');
    const sampler = createStage2Sampler(corpus.view, testTokenizer, { seed: 1, minLength: 3, maxLength: 10 });
    const asked: boolean[] = [];
    const spied: typeof sampler = {
      ...sampler,
      sample(index, options) {
        asked.push(options?.maskSource ?? true);
        return sampler.sample(index, options);
      },
    };
    using model = new PlugModel(plugConfigOfSize('nano', testTokenizer.vocabSize), newParameters(1));
    const objective = stage2Objective(
      model,
      spied,
      undefined,
      { seed: 1, tokensPerBatch: 64, evaluationBatches: 1, mlmUntilStep: 2 },
      () => 1,
    );
    for (const step of [1, 2, 3, 4]) {
      asked.length = 0;
      scope(() => objective.nextLosses(step, { computeDType: 'float32' }));
      assert.deepEqual([...new Set(asked)], [step <= 2], `step ${step}`);
    }
    assert.deepEqual(objective.evaluate({ computeDType: 'float32' }), {}, 'nothing is held out');
  });
});

describe('a stage', () => {
  for (const stage of [1, 2] as const) {
    it(`${stage} learns a tiny corpus by heart: less than half the loss after 100 steps`, async () => {
      const lines = ['春江潮水連海平。', '明月共潮生。', '灩隨波千萬里。', '何處春江無月。'];
      const documents = Array.from({ length: 8 }, (_, index) => ({
        id: `${index}`,
        source: 'test',
        sentences: Array.from({ length: 6 }, (_, at) => lines[(index + at) % lines.length]!),
      }));
      const small = writeTestCorpus(temporaryFolder(), documents, 0);
      const out = nextOut();
      await pretrain(
        nanoSettings({
          ...small,
          out,
          stage,
          totalSteps: 100,
          accumulationSteps: 1,
          tokensPerBatch: 256,
          learningRate: 8e-3,
          initializerRange: 0.05,
          warmupFraction: 0.05,
          dropout: 0,
          evaluateEvery: 0,
          saveEvery: 100,
        }),
      );
      const losses = metricsOf(out).flatMap(({ kind, loss }) => (kind === 'train' ? [Number(loss)] : []));
      const mean = (part: number[]): number => part.reduce((sum, loss) => sum + loss, 0) / part.length;
      // Up to step 90, where stage 2 still has both parts.
      const [first, last] = [mean(losses.slice(0, 3)), mean(losses.slice(80, 90))];
      assert.ok(last < first / 2, `${first} to ${last}`);
    });

    it(`${stage} is the same run bit for bit when layers are recomputed`, async () => {
      const [kept, recomputed] = [nextOut(), nextOut()];
      const settings = nanoSettings({ ...places, out: kept, stage, totalSteps: 6 });
      await pretrain(settings);
      await pretrain({ ...settings, out: recomputed, recomputeLayers: true });
      assert.deepEqual(contentsOf(recomputed), contentsOf(kept));
      assert.deepEqual(metricsOf(recomputed), metricsOf(kept));
    });

    it(`${stage} holds as many tensors after step 60 as after step 10, and none at the end`, async () => {
      const before = { count: liveTensorCount(), bytes: liveTensorBytes() };
      const counts: number[] = [];
      await pretrain(
        nanoSettings({ ...places, out: nextOut(), stage, totalSteps: 60, evaluateEvery: 9, saveEvery: 7 }),
        { onStep: () => counts.push(liveTensorCount()) },
      );
      assert.deepEqual([...new Set(counts.slice(9))], [counts[59]], 'after each step from 10 to 60');
      assert.deepEqual({ count: liveTensorCount(), bytes: liveTensorBytes() }, before);
    });
  }
});

describe('settings', () => {
  it('that contradict each other or the run in the folder are refused by name', async () => {
    const settings = nanoSettings({ ...places, out: nextOut(), totalSteps: 2 });
    await pretrain(settings);
    const refused = async (changes: Partial<typeof settings>, pattern: RegExp): Promise<void> =>
      assert.rejects(
        pretrain({ ...settings, ...changes }),
        (error) => error instanceof ConfigError && pattern.test(error.message),
        `${pattern}`,
      );
    await refused({ learningRate: 2e-3 }, /learningRate = 0\.001, now it is 0\.002/);
    await refused({ totalSteps: 3 }, /totalSteps = 2, now it is 3/);
    await refused({ keepLast: 1 }, /keepLast = 2, now it is 1/);
    await refused({ threads: 2 }, /threads = 1, now it is 2/);
    await refused({ dtype: 'bfloat16' }, /dtype = "float32", now it is "bfloat16"/);
    await refused({ maxLength: 33 }, /maxLength.*maxPositions is 32/);
    await refused({ minSideLength: 11 }, /minSideLength \(11\)/);
    await refused({ out: nextOut(), tokensPerBatch: 16 }, /tokensPerBatch is 16/);
  });
});

function open(split: 'train' | 'heldOut') {
  const view = openTokenCorpus(join(places.corpus, split));
  return { view, [Symbol.dispose]: () => view.close() };
}
