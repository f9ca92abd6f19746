// What calibration sees of a small model's layers, and the folder that comes of it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { aten, liveTensorCount, nn, scope } from '@openplug/torch';
import {
  calibrated,
  loadModel,
  newModel,
  type OpenedModel,
  openModelFolder,
  openWeights,
  saveModel,
  writeModelFolder,
} from '../checkpoint/index.js';
import { CheckpointError } from '../errors.js';
import { listParameters, newParameters, PlugModel, packedName, plugConfigOfSize } from '../model/index.js';
import { type CalibrationTexts, collectHessians } from './index.js';
import { temporaryFolder, testTokenCorpus, testTokenizer } from './pretrain.test-support.js';
import { createStage1Sampler, createStage2Sampler } from './samples/index.js';

const parent = temporaryFolder();
const at = (name: string): string => join(parent, name);
const config = plugConfigOfSize('nano', testTokenizer.vocabSize, {
  maxPositionEmbeddings: 32,
  initializerRange: 0.2,
});
const settings = { seed: 0, tokensPerBatch: 256, tokens: 1000 };
const corpus = testTokenCorpus(20);
const pairs = createStage1Sampler(corpus, testTokenizer, { seed: 0, maxLength: 24 });
const cuts = createStage2Sampler(corpus, testTokenizer, { seed: 0, minLength: 3, maxLength: 10 });
const texts: CalibrationTexts = { pairs, cuts };

function writtenModel(): OpenedModel {
  using model = new PlugModel(config, newParameters(5));
  saveModel(at('source'), model);
  return openModelFolder(at('source'));
}

describe('calibration', () => {
  it('sees the inputs of every linear layer', async () => {
    using model = newModel(config, 5);
    const seen: number[] = [];
    using hessians = await collectHessians(model, texts, settings, {
      onProgress: (tokens, total) => {
        seen.push(tokens);
        assert.equal(total, settings.tokens);
      },
    });
    const linear = listParameters(config).filter(({ role }) => role === 'linear');
    assert.deepEqual([...hessians.byWeight.keys()].sort(), linear.map(({ name }) => name).sort());
    for (const { name, shape } of linear) {
      const hessian = hessians.byWeight.get(name)!;
      assert.deepEqual(hessian.shape, [shape[1], shape[1]], name);
      assert.ok(aten.diagonal(hessian).min().item() >= 0 && hessian.abs().max().item() > 0, name);
    }
    assert.ok(hessians.tokens >= settings.tokens && hessians.tokens < settings.tokens + 2 * 256);
    assert.deepEqual([seen.length > 3, seen.at(-1)], [true, settings.tokens]);
    // The first layer reads what a LayerNorm of weight 1 and bias 0 gives: Σ x² = E for each token, masked or not.
    const first = hessians.byWeight.get('bert.encoder.layer.0.attention.self.query_key_value.weight')!;
    const trace = aten.diagonal(first).sum().item();
    let targetTokens = trace / (2 * config.hiddenSize);
    assert.ok(targetTokens < hessians.tokens, 'the encoder reads sources only');
    const decoder = hessians.byWeight.get('decoder.decoder.layer.0.attention.query_key_value.weight')!;
    targetTokens += aten.diagonal(decoder).sum().item() / (2 * config.hiddenSize);
    assert.ok(Math.abs(targetTokens / hessians.tokens - 1) < 1e-3, `${targetTokens} of ${hessians.tokens}`);
  });

  it("makes a folder with GPTQ's numbers in it, not those of plain rounding", async () => {
    using model = writtenModel();
    using hessians = await collectHessians(model, texts, settings);
    using rounded = calibrated(model, hessians.byWeight);
    await writeModelFolder(at('plain'), model, { precision: 'int4' });
    await writeModelFolder(at('calibrated'), rounded, { precision: 'int4' });
    loadModel(at('calibrated'), { precision: 'int4' })[Symbol.dispose]();
    using plainFiles = openWeights(at('plain'));
    using files = openWeights(at('calibrated'));
    assert.deepEqual(files.names(), plainFiles.names());
    scope(() => {
      for (const { name, shape, role } of listParameters(config)) {
        if (role !== 'linear') {
          assert.ok(aten.equal(files.tensor(name), plainFiles.tensor(name)), name);
          continue;
        }
        const numbers = (from: typeof files): ReturnType<typeof nn.unpackLinear> => {
          const parts = nn
            .packedShapes(shape[0]!, shape[1]!, 'int4')
            .map(({ suffix }) => from.tensor(packedName(name, suffix)));
          return nn.unpackLinear(nn.packedFrom(parts, shape[0]!, 'int4'), shape[1]!);
        };
        assert.ok(aten.equal(numbers(files), rounded.weights.tensor(name)), name);
        assert.ok(!aten.equal(numbers(files), numbers(plainFiles)), `${name} was rounded plainly`);
      }
    });
  });

  it('calibrates an encoder alone on pairs alone', async () => {
    using model = newModel({ ...config, decHiddenLayers: 0 }, 5);
    using hessians = await collectHessians(model, { pairs }, { ...settings, tokens: 1 });
    assert.ok(hessians.tokens <= settings.tokensPerBatch, 'one batch is enough for one token');
    for (const [name, hessian] of hessians.byWeight) assert.ok(hessian.abs().max().item() > 0, name);
  });

  it('says what memory is missing, stops when it is told to, and leaves no tensor behind', async () => {
    using model = newModel(config, 5);
    const before = liveTensorCount();
    await assert.rejects(
      collectHessians(model, texts, { ...settings, freeBytes: 50_000 }),
      (error: Error) =>
        error instanceof CheckpointError &&
        /takes \d\S* GB of memory .* but 0\.0000500 GB are free/.test(error.message),
    );
    const stop = new AbortController();
    const stopping = collectHessians(model, texts, settings, {
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    await assert.rejects(stopping, { name: 'AbortError' });
    assert.equal(liveTensorCount(), before);
  });
});
