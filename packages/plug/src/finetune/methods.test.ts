// The ways of fine-tuning: adapters, a head alone, layer rates, losses, adversaries, averages.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { backward, noGrad, openSafetensors, scope, type Tensor, tensor } from '@openplug/torch';
import { loadModel, saveModel } from '../checkpoint/index.js';
import {
  indexTensor,
  inference,
  LoraLayers,
  newParameters,
  PlugModel,
  packTexts,
  plugConfig,
  textBatch,
} from '../model/index.js';
import { withAdversary } from '../train/adversarial.js';
import { smoothedCrossEntropy, symmetricDivergence } from './classification-loss.js';
import { finetune } from './finetune.js';
import {
  copyExamples,
  copyTask,
  springExamples,
  springTask,
  temporaryFolder,
  testTokenizer,
  writeTestModel,
} from './finetune.test-support.js';
import { loadTaskModel } from './kinds.js';
import { layerRate } from './layer-rates.js';
import type { FinetuneSettings } from './settings.js';

const base = { tokensPerBatch: 128, learningRate: 3e-3, threads: 1, dtype: 'float32' } as const;
const spring = { train: springExamples(1, 64), dev: springExamples(2, 32) };
const copies = { train: copyExamples(1, 48), dev: copyExamples(2, 16) };

function weightsOf(folder: string): Map<string, number[]> {
  using file = openSafetensors(join(folder, 'model.safetensors'));
  return new Map(file.names().map((name) => [name, scope(() => file.tensor(name).toArray())]));
}

const largestDifference = (left: readonly number[], right: readonly number[]): number =>
  Math.max(...left.map((value, at) => Math.abs(value - right[at]!)));

describe('LoRA', () => {
  it('starts as the model was, has exact gradients, and merged equals beside', () => {
    const folder = temporaryFolder();
    const config = plugConfig({
      vocabSize: testTokenizer.vocabSize,
      hiddenSize: 8,
      numAttentionHeads: 2,
      numHiddenLayers: 1,
      decHiddenLayers: 1,
      maxPositionEmbeddings: 12,
      initializerRange: 0.3,
    });
    const start = join(folder, 'start');
    using plain = new PlugModel(config, newParameters(3, 'float64'));
    saveModel(start, plain);
    const settings = { rank: 2, alpha: 6, targets: [], base: start };
    const layers = new LoraLayers(settings, 'float64');
    using adapted = loadModel(start, { dtype: 'float64', layers, adapters: newParameters(4, 'float64') });
    const options = { computeDType: 'float64' } as const;
    const outputOf = (model: PlugModel): Tensor => {
      const source = textBatch(
        packTexts([
          [2, 5, 6, 3],
          [2, 7, 3],
        ]),
      );
      const target = textBatch(
        packTexts([
          [2, 8],
          [2, 9, 10],
        ]),
      );
      return model.lmLogits(
        model.decode(target, model.encode(source, options), source.layout, options),
        options,
      );
    };
    const numbers = (model: PlugModel) => scope(() => noGrad(() => outputOf(model).toArray()));
    // Not always to the bit: MKL adds up in another order where a weight lies at another offset to its cache lines.
    assert.ok(largestDifference(numbers(adapted), numbers(plain)) < 1e-14);

    const trained = [...adapted.parameters].filter(([, parameter]) => parameter.requiresGrad);
    // Fused projections, output and two of feed-forward in each; keys and values of the source, and its output.
    assert.ok(trained.length >= 2 * 4 * 2 && trained.every(([name]) => name.startsWith('base_model.model.')));
    noGrad(() => {
      for (const [name, parameter] of trained)
        if (name.includes('lora_B'))
          scope(() => {
            const [rows, columns] = parameter.shape as [number, number];
            const values = Array.from({ length: rows * columns }, (_, at) => Math.sin(at + rows) / 3);
            parameter.copy_(tensor(values, { shape: [rows, columns], dtype: 'float64' }));
          });
    });
    const lossOf = () => scope(() => outputOf(adapted).logSoftmax(-1).pow(2).mean());
    scope(() => backward(lossOf()));
    for (const [name, parameter] of trained.slice(0, 8)) {
      const gradient = scope(() => parameter.grad!.toArray());
      const values = scope(() => parameter.toArray());
      const at = values.length - 1;
      const moved = (by: number): number =>
        scope(() => {
          const changed = values.map((value, index) => (index === at ? value + by : value));
          noGrad(() => parameter.copy_(tensor(changed, { shape: parameter.shape, dtype: 'float64' })));
          return noGrad(() => lossOf().item());
        });
      const slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
      moved(0);
      assert.ok(Math.abs(slope - gradient[at]!) < 1e-8, `${name}: ${slope} and ${gradient[at]}`);
    }

    const saved = join(folder, 'adapter');
    saveModel(saved, adapted);
    assert.ok(!existsSync(join(saved, 'model.safetensors')));
    using merged = loadModel(saved, { dtype: 'float64' });
    assert.ok(largestDifference(numbers(merged), numbers(adapted)) < 1e-12);
    assert.ok(largestDifference(numbers(merged), numbers(plain)) > 1e-3);
    using file = openSafetensors(join(saved, 'adapter_model.safetensors'));
    const prefix = 'base_model.model.bert.encoder.layer.0.attention.self.query_key_value';
    assert.deepEqual(file.info(`${prefix}.lora_A.weight`).shape, [2, 8]);
    assert.deepEqual(file.info(`${prefix}.lora_B.weight`).shape, [24, 2]);

    rmSync(join(start, 'model.safetensors'));
    assert.throws(() => loadModel(saved), /model\.safetensors/);
    rmSync(start, { recursive: true });
    assert.throws(() => loadModel(saved), /the model that was adapted.*is not there/);
  });

  it('trains a classifier with the rest left as it was, and continues to the same bits', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder);
    const settings = {
      ...base,
      learningRate: 2e-2,
      model,
      epochs: 12,
      loraRank: 4,
      loraDropout: 0.1,
      patience: 0,
      saveEvery: 5,
    };
    const out = join(folder, 'run');
    const result = await finetune(springTask, spring, { ...settings, out });
    assert.ok(result.finished && result.dev!.accuracy > 0.9, JSON.stringify(result));
    // Only what is written tensor by tensor has an index.
    assert.ok(existsSync(join(result.model, 'model.safetensors.index.json')));
    const [before, after] = [weightsOf(model), weightsOf(result.model)];
    const changed = [...after].filter(([name, values]) => `${values}` !== `${before.get(name)}`);
    assert.ok(changed.length > 0);
    for (const [name] of changed) assert.match(name, /dense\.weight$|query_key_value\.weight$/);

    const parts = join(folder, 'parts');
    const stop = new AbortController();
    const listener = { onStep: ({ step }: { step: number }) => void (step === 13 && stop.abort()) };
    assert.ok(
      !(await finetune(springTask, spring, { ...settings, out: parts }, listener, stop.signal)).finished,
    );
    rmSync(join(parts, 'checkpoints', 'step-00000013'), { recursive: true });
    await finetune(springTask, spring, { ...settings, out: parts });
    assert.deepEqual(weightsOf(join(parts, 'model')), after);

    const beside = await finetune(springTask, spring, {
      ...settings,
      out: join(folder, 'beside'),
      loraSave: 'adapter',
    });
    assert.ok(beside.finished && !existsSync(join(beside.model, 'model.safetensors')));
    const config = JSON.parse(readFileSync(join(beside.model, 'adapter_config.json'), 'utf8'));
    assert.deepEqual([config.r, config.lora_alpha, config.lora_dropout], [4, 8, 0.1]);
    using loaded = loadTaskModel(beside.model);
    for (const [name, values] of after)
      assert.deepEqual(
        scope(() => loaded.model.parameters.get(name)!.toArray()),
        values,
        name,
      );
  });

  it('adapts a generator, and refuses targets that are not there and files that do not fit', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder);
    const settings: FinetuneSettings = {
      ...base,
      model,
      out: join(folder, 'run'),
      epochs: 8,
      learningRate: 2e-2,
      loraRank: 4,
      loraTargets: ['query_key_value', 'output.dense'],
      loraSave: 'adapter',
    };
    const result = await finetune(copyTask, copies, settings);
    assert.ok(result.finished);
    const before = await finetune(copyTask, copies, {
      ...base,
      model,
      out: join(folder, 'one'),
      maxSteps: 1,
    });
    assert.ok(before.finished && result.dev!.loss < before.dev!.loss);
    await assert.rejects(
      finetune(copyTask, copies, { ...settings, out: join(folder, 'no'), loraTargets: ['key'] }),
      /No linear layer's name ends with "key"\. There are: .*query_key_value/,
    );
    const config = join(result.model, 'adapter_config.json');
    const written = readFileSync(config, 'utf8');
    writeFileSync(config, written.replace('"LORA"', '"IA3"'));
    assert.throws(() => loadTaskModel(result.model), /adapter_config\.json: peft_type/);
    writeFileSync(config, '{');
    assert.throws(() => loadTaskModel(result.model), /cannot be read as JSON/);
    for (const [wrong, message] of [
      [{ headOnly: true }, /headOnly trains no adapters/],
      [{ fromScratch: true }, /nothing to adapt/],
      [{ adversarial: 1 }, /frozen/],
      [{ rDrop: 1 }, /rDrop.* are for classification/],
    ] as const)
      await assert.rejects(finetune(copyTask, copies, { ...settings, ...wrong }), message);
  });
});

describe('a head alone', () => {
  it('leaves the encoder as it was', async () => {
    const folder = temporaryFolder();
    const model = writeTestModel(folder);
    const out = join(folder, 'run');
    const result = await finetune(springTask, spring, { ...base, model, out, epochs: 2, headOnly: true });
    assert.ok(result.finished);
    const [before, after] = [weightsOf(model), weightsOf(result.model)];
    for (const [name, values] of after) assert.deepEqual(values, before.get(name), name);
    using tuned = loadTaskModel(result.model);
    assert.ok(scope(() => tuned.parameters.get('classifier.bias')!.toArray()).some((value) => value !== 0));
  });
});

describe('layer rates', () => {
  it('fall from the top layer to the embeddings', () => {
    const config = plugConfig({ vocabSize: 16, hiddenSize: 8, numAttentionHeads: 2, numHiddenLayers: 3 });
    const rate = (name: string) => layerRate(name, 0.5, config);
    assert.deepEqual(
      [
        rate('classifier.weight'),
        rate('bert.encoder.LayerNorm.weight'),
        rate('bert.encoder.layer.2.output.dense.weight'),
        rate('base_model.model.bert.encoder.layer.0.output.dense.lora_A.weight'),
        rate('bert.embeddings.LayerNorm.bias'),
        rate('decoder.decoder.layer.0.x'),
      ],
      [1, 1, 1, 0.25, 0.125, 1],
    );
  });
});

describe('losses of classification', () => {
  const rows = [
    [0.5, -1, 2],
    [1, 0.25, -0.5],
  ];
  const logSoftmax = (row: readonly number[]) => {
    const total = Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0));
    return row.map((value) => value - total);
  };
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const matrix = (values: readonly number[][]) => tensor(values.flat(), { shape: [2, 3], dtype: 'float64' });

  it('smooth labels as the formula says', () => {
    scope(() => {
      const labels = [2, 0];
      const loss = smoothedCrossEntropy(matrix(rows), indexTensor(labels), 0.2).item();
      const right = mean(rows.map((row, at) => -logSoftmax(row)[labels[at]!]!));
      const uniform = mean(rows.map((row) => -mean(logSoftmax(row))));
      assert.ok(Math.abs(loss - (0.8 * right + 0.2 * uniform)) < 1e-14);
    });
  });

  it('R-Drop’s divergence is half the sum of both', () => {
    scope(() => {
      const other = rows.map((row) => row.map((value, at) => value * 0.5 + at));
      const kl = (a: readonly number[], b: readonly number[]) =>
        a.reduce((sum, value, at) => sum + Math.exp(value) * (value - b[at]!), 0);
      const wanted = mean(
        rows.map((row, at) => {
          const [p, q] = [logSoftmax(row), logSoftmax(other[at]!)];
          return (kl(p, q) + kl(q, p)) / 2;
        }),
      );
      assert.ok(Math.abs(symmetricDivergence(matrix(rows), matrix(other)).item() - wanted) < 1e-14);
      assert.equal(symmetricDivergence(matrix(rows), matrix(rows)).item(), 0);
    });
  });
});

describe('withAdversary', () => {
  it('adds the gradient at the moved table, and puts the table back', () => {
    scope(() => {
      const values = [1, -2, 0.5];
      const table = tensor(values, { shape: [3], dtype: 'float64', requiresGrad: true });
      const pass = () => scope(() => backward(table.pow(3).sum()));
      pass(); // of an earlier micro-batch, which must not change the direction
      withAdversary(table, 0.3, pass, pass);
      const gradient = values.map((value) => 3 * value ** 2);
      const norm = Math.hypot(...gradient);
      const wanted = values.map(
        (value, at) => 2 * gradient[at]! + 3 * (value + (0.3 * gradient[at]!) / norm) ** 2,
      );
      const got = table.grad!.toArray();
      for (const [at, value] of wanted.entries()) assert.ok(Math.abs(got[at]! - value) < 1e-12);
      assert.deepEqual(table.toArray(), values);
    });
  });
});

describe('all methods together', () => {
  it('continue an interrupted run to the same bits', async () => {
    const folder = temporaryFolder();
    const settings: Omit<FinetuneSettings, 'out'> = {
      ...base,
      model: writeTestModel(folder),
      epochs: 3,
      saveEvery: 2,
      evaluateEvery: 3,
      patience: 0,
      accumulationSteps: 2,
      layerDecay: 0.8,
      labelSmoothing: 0.1,
      rDrop: 0.5,
      adversarial: 0.5,
      averageDecay: 0.9,
    };
    const whole = await finetune(springTask, spring, { ...settings, out: join(folder, 'whole') });
    assert.ok(whole.finished);
    const out = join(folder, 'parts');
    const stop = new AbortController();
    const listener = { onStep: ({ step }: { step: number }) => void (step === 5 && stop.abort()) };
    await finetune(springTask, spring, { ...settings, out }, listener, stop.signal);
    rmSync(join(out, 'checkpoints', 'step-00000005'), { recursive: true });
    const result = await finetune(springTask, spring, { ...settings, out });
    assert.ok(result.finished);
    assert.deepEqual(weightsOf(result.model), weightsOf(whole.model));
    assert.equal(result.dev!.loss, whole.dev!.loss);
    using kept = loadTaskModel(result.model);
    assert.ok(
      scope(() => kept.model.encode(textBatch(packTexts([[2, 5, 3]])), inference).toArray()).every(
        Number.isFinite,
      ),
    );
  });
});
