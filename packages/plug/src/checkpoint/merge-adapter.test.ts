// Adapters beside frozen weights, and merged into them: what either holds in memory.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { liveTensorBytes, noGrad, openSafetensors, scope, type Tensor } from '@openplug/torch';
import {
  frozenLayers,
  type LinearLayers,
  LoraLayers,
  newParameters,
  PlugModel,
  plugConfig,
} from '../model/index.js';
import { loadModel, mergeAdapter, saveModel } from './index.js';

const config = plugConfig({
  vocabSize: 64,
  hiddenSize: 32,
  numAttentionHeads: 2,
  numHiddenLayers: 3,
  decHiddenLayers: 1,
  maxPositionEmbeddings: 16,
});
const parent = mkdtempSync(join(tmpdir(), 'plug-adapter-'));
after(() => rmSync(parent, { recursive: true }));

const base = join(parent, 'base');
{
  using model = new PlugModel(config, newParameters(1));
  saveModel(base, model);
}

function sum(tensors: Iterable<Tensor>): number {
  return [...tensors].reduce((total, { numel }) => total + 4 * numel, 0);
}

/** Mappings of files in `folder`, and copies of the model in memory. */
function held(folder: string): { mappings: number; bytes: number } {
  const maps = existsSync('/proc/self/maps') ? readFileSync('/proc/self/maps', 'utf8') : '';
  return { mappings: maps.split(folder).length - 1, bytes: liveTensorBytes() };
}

function adapted(): PlugModel {
  const layers = new LoraLayers({ rank: 2, alpha: 6, targets: [], base }, 'float32');
  return loadModel(base, { layers, adapters: newParameters(2) });
}

/** Adapters as after training: those that start at zero moved. */
function saveAdapted(folder: string): void {
  using model = adapted();
  noGrad(() => {
    for (const [name, parameter] of model.parameters) if (name.includes('lora_B')) parameter.fill_(0.03);
  });
  saveModel(folder, model);
}

describe('mergeAdapter', () => {
  it('writes what loading the adapted model gives, and holds one parameter at a time', async () => {
    const folder = join(parent, 'adapter');
    saveAdapted(folder);
    writeFileSync(join(folder, 'task.json'), '{"task":1}');
    const before = held(parent);
    let steps = 0;
    const { bytes } = await mergeAdapter(folder, join(parent, 'merged'), {
      onProgress() {
        steps++;
        assert.deepEqual(held(parent), before, `after ${steps} parameters`);
      },
    });
    using loaded = loadModel(folder);
    assert.equal(steps, loaded.parameters.size);
    assert.equal(bytes, sum(loaded.parameters.values()));
    using file = openSafetensors(join(parent, 'merged', 'model.safetensors'));
    using plain = openSafetensors(join(base, 'model.safetensors'));
    let moved = 0;
    for (const [name, parameter] of loaded.parameters)
      scope(() => {
        const written = file.tensor(name).toArray();
        assert.deepEqual(written, parameter.toArray(), name);
        if (`${written}` !== `${plain.tensor(name).toArray()}`) moved++;
      });
    assert.ok(moved >= 4 * 4, `${moved}`); // four linear layers or more in each layer
    assert.equal(readFileSync(join(parent, 'merged', 'task.json'), 'utf8'), '{"task":1}');
    assert.ok(!existsSync(join(parent, 'merged', 'adapter_config.json')));
  });

  it('leaves nothing when the adapters fit no layer', async () => {
    const folder = join(parent, 'other');
    saveAdapted(folder);
    const path = join(folder, 'adapter_config.json');
    const small = join(parent, 'small');
    {
      using model = new PlugModel({ ...config, numHiddenLayers: 1 }, newParameters(1));
      saveModel(small, model);
    }
    const written = JSON.parse(readFileSync(path, 'utf8')) as object;
    writeFileSync(path, JSON.stringify({ ...written, base_model_name_or_path: small }));
    await assert.rejects(mergeAdapter(folder, join(parent, 'none')), /adapts no layer/);
    assert.ok(!existsSync(join(parent, 'none')) && !existsSync(join(parent, 'none.unfinished')));
  });
});

describe('loading', () => {
  const growth = (layers?: LinearLayers): { mappings: number; bytes: number } => {
    const before = held(parent);
    using model = layers ? loadModel(base, { layers }) : loadModel(base);
    const now = held(parent);
    assert.ok(model.parameters.size > 0);
    return { mappings: now.mappings - before.mappings, bytes: now.bytes - before.bytes };
  };

  it('copies what is trained and keeps no page of the file beside it', () => {
    using model = loadModel(base);
    assert.deepEqual(growth(), { mappings: 0, bytes: sum(model.parameters.values()) });
  });

  it('leaves frozen weights on the pages of the file, and lets go of them with the model', () => {
    const before = held(parent);
    assert.equal(growth(frozenLayers).bytes, 0);
    {
      using model = adapted();
      const adapters = [...model.parameters].filter(([, { requiresGrad }]) => requiresGrad);
      assert.equal(liveTensorBytes() - before.bytes, sum(adapters.map(([, parameter]) => parameter)));
    }
    assert.deepEqual(held(parent), before);
  });
});
