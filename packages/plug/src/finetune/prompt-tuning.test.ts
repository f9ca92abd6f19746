// Few examples with prompt vectors: what is learned by them alone, exact continuation, and folders that are read again.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openSafetensors, scope } from '@openplug/torch';
import { loadModel, saveModel } from '../checkpoint/index.js';
import { promptParameter } from '../model/index.js';
import { finetune } from './finetune.js';
import {
  copyExamples,
  copyTask,
  springExamples,
  temporaryFolder,
  writeTestModel,
} from './finetune.test-support.js';
import { loadGenerator } from './generator.js';
import { writeTargets } from './kinds.js';
import type { FinetuneSettings } from './settings.js';
import { evaluateFewShot, evaluateZeroShot } from './shots.js';
import type { ClassificationTask } from './task.js';

const spring: ClassificationTask = {
  name: 'spring',
  kind: 'classification',
  columns: { text: 'line', label: 'season' },
  labels: ['other', 'spring'],
  prompt: { source: '{text}生', before: '月', words: ['海平', '春'] },
  metric: 'accuracy',
};
const base = { tokensPerBatch: 256, threads: 1, dtype: 'float32' } as const;
const copies = { train: copyExamples(1, 32), dev: copyExamples(2, 16) };

function tensorsOf(folder: string): Map<string, number[]> {
  using file = openSafetensors(join(folder, 'model.safetensors'));
  return new Map(file.names().map((name) => [name, scope(() => file.tensor(name).toArray())]));
}

describe('prompt tuning', () => {
  it('steers a frozen model by its vectors alone', async () => {
    const folder = temporaryFolder();
    // Weights large enough that a source moves what is written.
    const model = writeTestModel(folder, { maxPositionEmbeddings: 32, initializerRange: 0.3 });
    const told = (seed: number, count: number) =>
      copyExamples(seed, count).map(({ source }) => ({ source, target: '海明海' }));
    const losses: number[] = [];
    const result = await finetune(
      copyTask,
      { train: told(1, 32), dev: told(2, 16) },
      {
        ...base,
        model,
        out: join(folder, 'run'),
        promptTokens: 4,
        promptOnly: true,
        dropout: 0,
        epochs: 16,
        learningRate: 0.05,
      },
      { onEvaluate: ({ loss }) => void losses.push(Number(loss)) },
    );
    assert.ok(result.finished);
    assert.ok(losses.at(-1)! < losses[0]! - 1, `${losses}`);
    const [kept, tuned] = [tensorsOf(model), tensorsOf(result.model)];
    assert.equal(tuned.get(promptParameter)!.length, 4 * 32);
    for (const [name, values] of kept) assert.deepEqual(tuned.get(name), values, name);
    assert.equal(tuned.size, kept.size + 1);
  });

  it('teaches a model that knew nothing a task in words, with all of the model', async () => {
    const folder = temporaryFolder();
    const start = writeTestModel(folder, { maxPositionEmbeddings: 32 });
    const test = springExamples(3, 60);
    const settings = {
      ...base,
      model: start,
      out: join(folder, 'run'),
      shots: 40,
      promptTokens: 4,
      epochs: 40,
      learningRate: 3e-3,
    };
    const few = await evaluateFewShot(spring, springExamples(1, 80), test, settings, { calibrate: false });
    assert.ok(few!.accuracy > 0.9, `${few!.accuracy}`);
    const again = evaluateZeroShot(join(folder, 'run'), spring, test, { calibrate: false });
    assert.equal(again.accuracy, few!.accuracy, 'its folder is read with the vectors');
  });

  it('continues bit for bit, writes with its vectors, and loads strictly', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder, { maxPositionEmbeddings: 32 });
    const settings = { ...base, model, promptTokens: 3, epochs: 3, saveEvery: 2 } as const;
    const run = async (out: string, given: FinetuneSettings, stopAt?: number) => {
      const stop = new AbortController();
      const onStep = ({ step }: { step: number }) => void (step === stopAt && stop.abort());
      return await finetune(copyTask, copies, { ...given, out: join(folder, out) }, { onStep }, stop.signal);
    };
    for (const promptOnly of [false, true]) {
      const given = { ...settings, out: '', promptOnly };
      const whole = await run(`whole-${promptOnly}`, given);
      assert.equal((await run(`parts-${promptOnly}`, given, 3)).finished, false);
      const parts = await run(`parts-${promptOnly}`, given);
      assert.ok(whole.finished && parts.finished);
      const bytes = [whole, parts].map((result) => readFileSync(join(result.model, 'model.safetensors')));
      assert.ok(bytes[0]!.equals(bytes[1]!));
    }
    const tuned = join(folder, 'whole-false', 'model');
    using generator = loadGenerator(tuned);
    const { sourceIds } = generator.encode({ source: '春江', target: '春' });
    assert.deepEqual([...sourceIds.subarray(1, 4)], [-1, -2, -3]);
    const [text] = await writeTargets(generator, [{ source: '春江' }]);
    assert.equal(typeof text, 'string');

    // Prompt vectors that the configuration does not tell of, or that are not there, are errors.
    using loaded = loadModel(tuned);
    const config = JSON.parse(readFileSync(join(tuned, 'config.json'), 'utf8'));
    assert.equal(config.prompt_tokens, 3);
    assert.throws(
      () => loadModel(model, { changes: { promptTokens: 3 } }),
      /prompt_embeddings.weight" .*missing/,
    );
    const wrong = join(folder, 'wrong');
    saveModel(wrong, loaded);
    assert.throws(
      () => loadModel(wrong, { changes: { promptTokens: 2 } }),
      /has shape \[3,32\], expected \[2,32\]/,
    );
    await assert.rejects(
      run('more', { ...settings, model: tuned, out: '', promptTokens: 5 }),
      /has 3 prompt vectors already/,
    );
    const again = await run('again', { ...settings, model: tuned, out: '', maxSteps: 1 });
    assert.ok(again.finished);
  });

  it('refuses what does not go together', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder);
    const refused = (changes: Partial<FinetuneSettings>, message: RegExp) =>
      assert.rejects(
        finetune(copyTask, copies, { ...base, model, out: join(folder, 'x'), ...changes }),
        message,
      );
    await refused({ promptOnly: true }, /say with promptTokens how many/);
    await refused({ promptTokens: 2, loraRank: 2 }, /leave out loraRank/);
    await refused({ promptTokens: 23 }, /leave nothing for a text/);
    await assert.rejects(
      finetune(
        spring,
        { train: springExamples(1, 4) },
        { ...base, model, out: join(folder, 'y'), promptTokens: 2 },
      ),
      /promptTokens is for generation and few shots, but the task spring is classification/,
    );
  });
});
