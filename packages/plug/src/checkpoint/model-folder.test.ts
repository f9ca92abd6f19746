// Model folders: exact on the way out and in, strict about everything that does not fit.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import {
  liveTensorCount,
  noGrad,
  openSafetensors,
  scope,
  type Tensor,
  writeSafetensors,
  zeros,
} from '@openplug/torch';
import { CheckpointError, ConfigError } from '../errors.js';
import {
  newParameters,
  type PlugConfig,
  PlugModel,
  packedLayers,
  packTexts,
  plugConfigOfSize,
  textBatch,
} from '../model/index.js';
import { loadModel, readModelConfig, saveModel } from './index.js';

const config = plugConfigOfSize('nano', 50, { maxPositionEmbeddings: 8, layernormEpsilon: 1e-12 });
const embedding = 'bert.embeddings.word_embeddings.weight';
const tied = 'cls.predictions.decoder_weight';

const parent = mkdtempSync(join(tmpdir(), 'plug-model-folder-'));
const folder = join(parent, 'model');
const weights = join(folder, 'model.safetensors');
after(() => rmSync(parent, { recursive: true }));

function bits(tensor: Tensor): Buffer {
  const values = tensor.toTypedArray();
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

function saveNew(changes: Partial<PlugConfig> = {}): Map<string, Buffer> {
  using model = new PlugModel({ ...config, ...changes }, newParameters(7));
  saveModel(folder, model);
  return new Map([...model.parameters].map(([name, parameter]) => [name, bits(parameter)]));
}

/** Rewrites the weights after `edit` changed the map of tensors. */
function editWeights(edit: (tensors: Map<string, Tensor>) => void): void {
  scope(() => {
    const file = openSafetensors(weights);
    const tensors = new Map(file.names().map((name) => [name, file.tensor(name).clone()]));
    file.close();
    edit(tensors);
    writeSafetensors(weights, tensors);
  });
}

function refused(pattern: RegExp, type: typeof CheckpointError | typeof ConfigError = CheckpointError): void {
  assert.throws(
    () => loadModel(folder),
    (error: Error) => {
      assert.ok(error instanceof type, `${error}`);
      assert.match(error.message, pattern);
      assert.ok(error.message.includes(folder), `${error.message} does not name the file`);
      return true;
    },
  );
}

describe('a saved model', () => {
  for (const changes of [{}, { preLn: false }, { decHiddenLayers: 0 }, { doubleFinalNorm: true }])
    it(`comes back bit for bit, ${JSON.stringify(changes)}`, () => {
      const saved = saveNew(changes);
      using model = loadModel(folder);
      assert.deepEqual(model.config, { ...config, ...changes });
      assert.deepEqual(readModelConfig(folder), model.config);
      assert.deepEqual([...model.parameters.keys()], [...saved.keys()]);
      for (const [name, parameter] of model.parameters) {
        assert.ok(bits(parameter).equals(saved.get(name)!), name);
        assert.ok(parameter.requiresGrad, name);
      }
    });

  it('keeps what is special: −0, denormals, infinity and not-a-number', () => {
    using model = new PlugModel(config, newParameters(7));
    const special = Float32Array.from([-0, 1e-42, Number.POSITIVE_INFINITY, Number.NaN]);
    const bias = model.parameters.get('cls.seq_relationship.bias')!;
    scope(() => {
      for (const [at, value] of special.slice(0, 3).entries()) bias.detach().narrow(0, at, 1).fill_(value);
      model.parameters.get('cls.predictions.bias')!.detach().fill_(special[3]!);
    });
    saveModel(folder, model);
    using loaded = loadModel(folder);
    for (const name of ['cls.seq_relationship.bias', 'cls.predictions.bias'])
      assert.ok(bits(loaded.parameters.get(name)!).equals(bits(model.parameters.get(name)!)));
  });

  it('loads as another dtype and with other dropout', () => {
    const saved = saveNew();
    using model = loadModel(folder, { dtype: 'float64', changes: { hiddenDropoutProb: 0.3 } });
    assert.equal(model.config.hiddenDropoutProb, 0.3);
    const stored = saved.get(embedding)!;
    const wanted = Array.from(new Float32Array(stored.buffer, stored.byteOffset, stored.length / 4));
    const parameter = model.parameters.get(embedding)!;
    assert.equal(parameter.dtype, 'float64');
    assert.deepEqual(parameter.toArray(), wanted);
  });

  it('is its own copy: training it does not touch the file', () => {
    saveNew();
    const before = readFileSync(weights);
    using model = loadModel(folder);
    scope(() => {
      for (const parameter of model.parameters.values()) parameter.detach().fill_(9);
    });
    assert.ok(readFileSync(weights).equals(before));
    using again = loadModel(folder);
    assert.notEqual(again.parameters.get(embedding)!.toArray()[0], 9);
  });

  it('may store the tied output embedding when it is the same', () => {
    saveNew();
    editWeights((tensors) => tensors.set(tied, tensors.get(embedding)!.clone()));
    loadModel(folder)[Symbol.dispose]();
  });
});

describe('a model that is packed for inference', () => {
  const hiddenStates = (model: PlugModel): number[] =>
    noGrad(() => scope(() => model.encode(textBatch(packTexts([[1, 2, 3, 4]])), model.inference).toArray()));

  for (const precision of ['float32', 'bfloat16', 'int8'] as const)
    it(`is loaded in ${precision}, checked as strictly, and cannot be saved`, () => {
      saveNew();
      const before = liveTensorCount();
      {
        using model = loadModel(folder, { precision });
        assert.equal(model.precision, precision);
        assert.ok([...model.parameters.values()].every((parameter) => !parameter.requiresGrad));
        using wanted = new PlugModel(config, newParameters(7), packedLayers(precision));
        assert.deepEqual(hiddenStates(model), hiddenStates(wanted));
        const target = join(parent, `packed-${precision}`);
        assert.throws(
          () => saveModel(target, model),
          (error: Error) =>
            error instanceof CheckpointError &&
            error.message.includes(`packed for inference (${precision})`) &&
            error.message.includes(target),
        );
        assert.equal(existsSync(target), false);
      }
      assert.equal(liveTensorCount(), before);
      for (const name of ['decoder.decoder.layer.0.output.weight', 'bert.pooler.dense.weight']) {
        saveNew();
        editWeights((tensors) => tensors.delete(name));
        assert.throws(() => loadModel(folder, { precision }), new RegExp(`"${name}".* is missing`));
      }
      saveNew();
      editWeights((tensors) => tensors.set('more', zeros([1])));
      assert.throws(() => loadModel(folder, { precision }), /"more"/);
      assert.equal(liveTensorCount(), before);
    });
});

describe('a folder that does not fit', () => {
  let live = 0;
  before(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach(() => {
    saveNew();
    live = liveTensorCount();
  });
  const output = 'bert.encoder.layer.1.output.dense.weight';

  it('names a missing tensor with its shape, and leaves no tensors behind', () => {
    editWeights((tensors) => tensors.delete(output));
    refused(/bert\.encoder\.layer\.1\.output\.dense\.weight".*64,256.*missing/);
    assert.equal(liveTensorCount(), live);
  });

  it('names an extra tensor', () => {
    editWeights((tensors) => tensors.set('bert.encoder.layer.2.output.dense.weight', zeros([2])));
    refused(/1 tensors.*bert\.encoder\.layer\.2\.output\.dense\.weight.*num_hidden_layers/);
    assert.equal(liveTensorCount(), live);
  });

  it('names a misshapen tensor with both shapes', () => {
    for (const shape of [[64, 255], [256, 64], [64 * 256], [1]]) {
      editWeights((tensors) => tensors.set(output, zeros(shape)));
      refused(
        new RegExp(`layer\\.1\\.output\\.dense\\.weight" has shape \\[${shape}\\], expected \\[64,256\\]`),
      );
    }
  });

  it('names a tied tensor that differs', () => {
    editWeights((tensors) => {
      const copy = tensors.get(embedding)!.clone();
      copy.narrow(0, 5, 1).add_(1e-6);
      tensors.set(tied, copy);
    });
    refused(/decoder_weight" differs from "bert\.embeddings\.word_embeddings\.weight"/);
    assert.equal(liveTensorCount(), live);
  });

  it('refuses a truncated file wherever it is cut', () => {
    const { length } = readFileSync(weights);
    for (const size of [length - 1, length >> 1, 100, 7, 0]) {
      saveNew();
      truncateSync(weights, size);
      refused(/model\.safetensors/);
    }
  });

  it('refuses missing files and a configuration with a typo', () => {
    const path = join(folder, 'config.json');
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.replace('hidden_size', 'hiden_size'));
    refused(/"hiden_size".*"hidden_size"/, ConfigError);
    writeFileSync(path, text.slice(0, 40));
    refused(/not valid JSON/, ConfigError);
    rmSync(path);
    refused(/config\.json cannot be read/, ConfigError);
    writeFileSync(path, text.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'));
    refused(/bert\.encoder\.layer\.2\..*missing/);
    writeFileSync(path, text);
    rmSync(weights);
    refused(/model\.safetensors/);
  });

  it('refuses changes that are no configuration', () => {
    assert.throws(() => loadModel(folder, { changes: { numAttentionHeads: 7 } }), ConfigError);
  });
});
