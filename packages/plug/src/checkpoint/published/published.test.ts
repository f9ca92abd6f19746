// Published shards: merged exactly, written byte for byte, and refused by tensor and rank when they do not belong
// together.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { aten, liveTensorCount, openSafetensors, scope, type Tensor, tensor, zeros } from '@openplug/torch';
import { CheckpointError, ConfigError } from '../../errors.js';
import { countParameters, newParameters, PlugModel, plugConfigOfSize } from '../../model/index.js';
import { readModelConfig } from '../model-folder.js';
import { openTorchCheckpoint } from '../pickle/index.js';
import { plannedBytes, storageOrder, type TensorPlan, TorchWriter } from '../pickle/torch-writer.js';
import type { TensorSource } from '../tensor-source.js';
import { openPublishedPlug, splitToShards } from './index.js';
import { publishedLayout, tiedName } from './layout.js';

const fixture = fileURLToPath(new URL('../../../test-data/plug-tiny', import.meta.url));
const shared =
  process.env.OPENPLUG_SHARED ?? fileURLToPath(new URL('../../../../../../shared', import.meta.url));
const sharedFixture = join(shared, 'fixtures', 'plug-tiny');
const config = readModelConfig(fixture);

const parent = mkdtempSync(join(tmpdir(), 'plug-published-'));
after(() => rmSync(parent, { recursive: true }));
const folder = join(parent, 'model');
const shard = (rank: number): string => join(folder, 'model', `mp_rank_0${rank}_model_states.pt`);

/** SHA-256 of the fixture's shards, as PyTorch 1.13 wrote them. */
const fixtureSums = [
  'dae63e4541239c67cf2b41158a74851ec2cfc7a54adad9b110d6ba4c374d4ca6',
  '81342a0af22e8bb7186f55c4e3ba4b6d73145760f40e0f82b25d352cda87050d',
  '2bb57aa8d6b93e0c7a4b3196aaa6966ebad81ff852efa7c5c90793c6cceb659b',
  'ff661d282d656e7893aca4769ae80b1a99ff977bf091f0ee61cb16e50ac33945',
  'f44d10bfcdec493108a1f87bcc72d6a33f02bcdb9ecf595a50fcda2074ba9c5c',
  '2a0b126913c583edab6ddfaee26dc9e69c55ab453899c8d0c549e79b80d26f4f',
  '9174945296ecb6416e65e16b76ebe23182c13c94312ddfa2cb1fa39ba0edf05f',
  'c61b1bafee3954b035c69d6157242c5639b51da79cb7045fca2231dca9d17069',
];

const weights = openSafetensors(join(fixture, 'model.safetensors'));

/** A source over `base` with some tensors replaced, or left out (null). */
function changedSource(changes: Record<string, Tensor | null>, base: TensorSource = weights): TensorSource {
  return {
    path: 'changed',
    names: () => [
      ...base.names().filter((name) => changes[name] !== null),
      ...Object.keys(changes).filter((name) => changes[name] && !base.has(name)),
    ],
    has: (name) => (name in changes ? changes[name] !== null : base.has(name)),
    info: (name) =>
      changes[name] ? { dtype: changes[name].dtype, shape: changes[name].shape } : base.info(name),
    tensor: (name) => changes[name]?.clone() ?? base.tensor(name),
    [Symbol.dispose]() {},
  };
}

/** Rewrites one shard with some of its tensors replaced, added or left out (null). */
function editShard(rank: number, changes: Record<string, Tensor | null>): void {
  const old = openTorchCheckpoint(shard(rank));
  const source = changedSource(changes, old);
  const plan = source.names().map((name): TensorPlan => ({ name, ...source.info(name) }));
  const parts: Uint8Array[] = [];
  const writer = new TorchWriter((bytes) => parts.push(Buffer.from(bytes)), 'x', 'module', plan);
  for (const item of storageOrder(plan)) {
    const { name } = item;
    using stored = source.tensor(name);
    using words = aten['view.dtype'](stored.contiguous().reshape(-1), 'uint8');
    writer.tensor((write) => plannedBytes(item) > 0 && write(words.toTypedArray() as Uint8Array));
  }
  writer.finish();
  old[Symbol.dispose]();
  writeFileSync(shard(rank), Buffer.concat(parts));
}

function refused(pattern: RegExp, body: () => void = () => openPublishedPlug(folder)): void {
  assert.throws(body, (error: Error) => {
    assert.ok(error instanceof CheckpointError, error.stack);
    assert.match(error.message, pattern);
    return true;
  });
}

const sums = (of: string): string[] =>
  readdirSync(join(of, 'model'))
    .sort()
    .map((name) =>
      createHash('sha256')
        .update(readFileSync(join(of, 'model', name)))
        .digest('hex'),
    );

/** Names of tensors of `source` that differ from the fixture's rounded to fp16. */
function differing(source: TensorSource): string[] {
  return source
    .names()
    .filter((name) => scope(() => !aten.equal(source.tensor(name), weights.tensor(name).to('float16'))));
}

describe('published PLUG', () => {
  const pristine = join(parent, 'pristine');
  before(async () => {
    mkdirSync(pristine);
    copyFileSync(join(fixture, 'config.json'), join(pristine, 'config.json'));
    writeFileSync(join(pristine, 'vocab.txt'), '[PAD]\n');
    await splitToShards(weights, config, 8, pristine, { extra: { iteration: 7 } });
  });
  beforeEach(() => {
    rmSync(folder, { recursive: true, force: true });
    cpSync(pristine, folder, { recursive: true });
  });

  it('is written exactly as PyTorch wrote the fixture', () => {
    assert.deepEqual(sums(folder), fixtureSums);
  });

  const absent = existsSync(sharedFixture) ? false : `no fixture at ${sharedFixture} (set OPENPLUG_SHARED)`;
  it('merges the fixture to its tensors rounded to fp16, and splits back to the same files', {
    skip: absent,
  }, async () => {
    const opened = openPublishedPlug(sharedFixture);
    assert.equal(opened.kind, 'published PLUG, 8-way tensor parallel');
    assert.deepEqual(opened.weights.names().sort(), weights.names().sort());
    assert.deepEqual(differing(opened.weights), []);
    assert.deepEqual(opened.filesBeside, []);
    const again = join(parent, 'again');
    await splitToShards(opened.weights, opened.config, 8, again, { extra: { iteration: 7 } });
    opened[Symbol.dispose]();
    assert.deepEqual(sums(again), sums(sharedFixture));
    assert.deepEqual(sums(again), fixtureSums);
  });

  it('merges shards of any degree, without a tensor left behind', async () => {
    for (const degree of [1, 2, 4, 8]) {
      rmSync(join(folder, 'model'), { recursive: true });
      await splitToShards(weights, config, degree, folder);
      const before = liveTensorCount();
      using opened = openPublishedPlug(folder);
      assert.equal(opened.kind, `published PLUG, ${degree}-way tensor parallel`);
      assert.deepEqual(differing(opened.weights), []);
      assert.equal(liveTensorCount(), before);
      for (const name of opened.weights.names())
        assert.deepEqual(opened.weights.info(name), { dtype: 'float16', shape: weights.info(name).shape });
    }
  });

  it('turns on the double final norm and says so', () => {
    using opened = openPublishedPlug(folder);
    assert.equal(config.doubleFinalNorm, false);
    assert.deepEqual(opened.config, { ...config, doubleFinalNorm: true });
    assert.match(opened.notes.join('\n'), /^double_final_norm was turned on/);
    assert.deepEqual(opened.filesBeside, [join(folder, 'vocab.txt')]);
  });

  it('opens an encoder alone and one of post-LN', async () => {
    for (const changes of [{ decHiddenLayers: 0 }, { decHiddenLayers: 0, preLn: false }]) {
      const small = plugConfigOfSize('nano', 50, { maxPositionEmbeddings: 8, ...changes });
      using model = new PlugModel(small, newParameters(3));
      const source: TensorSource = {
        path: 'memory',
        names: () => [...model.parameters.keys()],
        has: (name) => model.parameters.has(name),
        info: (name) => model.parameters.get(name)!,
        tensor: (name) => model.parameters.get(name)!.detach(),
        [Symbol.dispose]() {},
      };
      const target = join(parent, `encoder-${small.preLn}`);
      await splitToShards(source, small, 2, target);
      const { vocabSize, originalVocabSize, hiddenSize, numHiddenLayers, preLn } = small;
      writeFileSync(
        join(target, 'config.json'),
        JSON.stringify({
          vocab_size: vocabSize,
          original_vocab_size: originalVocabSize,
          hidden_size: hiddenSize,
          num_attention_heads: 4,
          num_hidden_layers: numHiddenLayers,
          max_position_embeddings: 8,
          pre_ln: preLn,
        }),
      );
      using opened = openPublishedPlug(target);
      assert.equal(opened.config.doubleFinalNorm, preLn);
      for (const [name, parameter] of model.parameters)
        assert.ok(
          scope(() => aten.equal(opened.weights.tensor(name), parameter.detach().to('float16'))),
          name,
        );
    }
  });

  it('takes names with the prefixes that wrappers of training add', () => {
    for (let rank = 0; rank < 8; rank++) {
      const old = openTorchCheckpoint(shard(rank));
      const renamed = Object.fromEntries(
        old.names().flatMap((name) => [
          [name, null],
          [`module.${name}`, old.tensor(name)],
        ]),
      );
      old[Symbol.dispose]();
      editShard(rank, renamed);
    }
    using opened = openPublishedPlug(folder);
    assert.deepEqual(differing(opened.weights), []);
  });

  it('names ranks that are missing or too many', () => {
    rmSync(shard(7));
    refused(/one of 8 shards \(22 of 176 vocabulary rows\).* has 7: 0, 1, 2, 3, 4, 5, 6\. Missing: rank 7\./);
    renameSync(shard(3), shard(7));
    refused(/Missing: rank 3\./);
    rmSync(shard(0));
    refused(/Missing: rank 0, 3\./);
    cpSync(pristine, folder, { recursive: true });
    copyFileSync(shard(0), shard(8));
    refused(/has 9: .* Too many: rank 8\./);
    copyFileSync(shard(0), join(folder, 'model', 'mp_rank_000_model_states.pt'));
    refused(/two files of rank 0/);
    rmSync(join(folder, 'model'), { recursive: true });
    refused(/has no mp_rank_00_model_states\.pt/);
  });

  it('names the tensor and file that do not fit config.json', () => {
    const json = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
    const withConfig = (changes: object): void =>
      writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...json, ...changes }));
    withConfig({ num_hidden_layers: 2 });
    refused(/mp_rank_00.*tensor "bert\.encoder\.layer\.2\.attention\.LayerNorm\.weight" belongs to no part/);
    withConfig({ num_hidden_layers: 4 });
    refused(
      /mp_rank_00.*tensor "bert\.encoder\.layer\.3\.attention\.LayerNorm\.weight" \(shape \[64\]\) is missing/,
    );
    withConfig({ max_position_embeddings: 128 });
    refused(
      /"bert\.embeddings\.position_embeddings\.weight" has shape \[64,64\], expected \[128,64\] on each of 8/,
    );
    withConfig({ vocab_size: 177 });
    refused(/22 rows, which are no part of the 177/);
    withConfig({ vocab_size: 'x' });
    assert.throws(() => openPublishedPlug(folder), ConfigError);
  });

  it('names the tensor and file of a shard that is not of the same model', () => {
    const bias = 'bert.pooler.dense.bias';
    editShard(5, { [bias]: null });
    refused(/mp_rank_05.*tensor "bert\.pooler\.dense\.bias" \(shape \[64\]\) is missing/);
    editShard(5, { [bias]: zeros([64], 'float32') });
    refused(/mp_rank_05.*"bert\.pooler\.dense\.bias" is float32 on rank 5 and float16 on rank 0/);
    editShard(5, { [bias]: zeros([65], 'float16') });
    refused(/mp_rank_05.*"bert\.pooler\.dense\.bias" has shape \[65\], expected \[64\]/);
    editShard(5, { [bias]: zeros([64], 'float16'), extra: zeros([1]) });
    refused(/mp_rank_05.*tensor "extra" belongs to no part/);
    editShard(5, { extra: null });
    copyFileSync(shard(5), shard(2));
    using opened = openPublishedPlug(folder);
    refused(
      /tensor "bert\.pooler\.dense\.bias" must be the same on all ranks, but rank 2, 5 differs from rank 0/,
      () => opened.weights.tensor(bias),
    );
    refused(/has no tensor "x"/, () => opened.weights.tensor('x'));
  });

  it('compares bits of what all ranks hold, and the tied embedding', () => {
    const nan = tensor(Array(64).fill(Number.NaN), { dtype: 'float16' });
    for (let rank = 0; rank < 8; rank++) editShard(rank, { 'bert.pooler.dense.bias': nan });
    editShard(4, { [tiedName]: zeros([22, 64], 'float16') });
    using opened = openPublishedPlug(folder);
    opened.weights.tensor('bert.pooler.dense.bias').dispose();
    refused(/mp_rank_04.*"cls\.predictions\.decoder_weight" differs from "bert\.embeddings\.word/, () =>
      opened.weights.tensor(tiedName),
    );
  });

  it('finds a damaged tensor by its checksum', () => {
    const bytes = readFileSync(shard(6));
    bytes[bytes.indexOf('data/43FB') + 100]! ^= 4;
    writeFileSync(shard(6), bytes);
    using opened = openPublishedPlug(folder);
    const bad = opened.weights.names().filter((name) => {
      try {
        opened.weights.tensor(name).dispose();
        return false;
      } catch (error) {
        assert.match((error as Error).message, /mp_rank_06.*checksum.*damaged/);
        return true;
      }
    });
    assert.deepEqual(bad, ['bert.pooler.dense.weight']);
  });
});

describe('splitting to shards', () => {
  const target = join(parent, 'split');
  beforeEach(() => rmSync(target, { recursive: true, force: true }));
  const rejected = (source: TensorSource, degree: number, pattern: RegExp): Promise<void> =>
    assert.rejects(splitToShards(source, config, degree, target), (error: Error) => {
      assert.ok(error instanceof CheckpointError, error.stack);
      assert.match(error.message, pattern);
      return true;
    });
  const files = (): string[] => (existsSync(join(target, 'model')) ? readdirSync(join(target, 'model')) : []);

  it('needs no tied embedding, and tells how far it is', async () => {
    const steps: [number, number][] = [];
    const source = changedSource({ [tiedName]: null });
    await splitToShards(source, config, 8, target, {
      extra: { iteration: 7 },
      onProgress: (done, total) => steps.push([done, total]),
    });
    assert.deepEqual(sums(target), fixtureSums);
    assert.equal(steps.length, 95);
    assert.equal(steps.at(-1)![0], steps.at(-1)![1]);
  });

  it('refuses what cannot be written and leaves nothing', async () => {
    await rejected(weights, 3, /3 ways: "vocab_size" \(176\) cannot be divided by 3/);
    await rejected(weights, 0, /the degree 0 is not/);
    const norm = 'bert.encoder.LayerNorm.bias';
    await rejected(
      changedSource({ [norm]: null }),
      2,
      /tensor "bert\.encoder\.LayerNorm\.bias" \(shape \[64\]\) is missing/,
    );
    await rejected(changedSource({ [norm]: zeros([63]) }), 2, /shape \[63\], expected \[64\]/);
    await rejected(changedSource({ extra: zeros([1]) }), 2, /"extra" has no place/);
    const large = tensor([70_000, ...Array(63).fill(0)]);
    await rejected(
      changedSource({ [norm]: large }),
      2,
      /"bert\.encoder\.LayerNorm\.bias" has values that fp16 cannot hold/,
    );
    assert.deepEqual(files(), []);
  });

  it('leaves nothing when it is aborted, and does not mix degrees', async () => {
    const abort = new AbortController();
    await assert.rejects(
      splitToShards(weights, config, 2, target, { signal: abort.signal, onProgress: () => abort.abort() }),
      { name: 'AbortError' },
    );
    assert.deepEqual(files(), []);
    await splitToShards(weights, config, 4, target);
    await rejected(weights, 2, /more than 2 ranks \(rank 2, 3\)/);
    assert.equal(files().length, 4);
  });
});

describe('layout of published checkpoints', () => {
  it('has exactly the parameters of the model, and the tied embedding', () => {
    for (const changes of [
      {},
      { decHiddenLayers: 0 },
      { decHiddenLayers: 0, preLn: false },
      { preLn: false },
    ]) {
      const small = plugConfigOfSize('nano', 50, { maxPositionEmbeddings: 8, ...changes });
      using model = new PlugModel(small, newParameters(1));
      const shapes = Object.fromEntries([...model.parameters].map(([name, { shape }]) => [name, shape]));
      const layout = publishedLayout(small).filter(({ name }) => name !== tiedName);
      assert.deepEqual(Object.fromEntries(layout.map(({ name, shape }) => [name, shape])), shapes);
    }
  });

  it('counts the parameters of the 27B model', () => {
    const large = plugConfigOfSize('27b', 21128);
    const count = publishedLayout(large)
      .filter(({ name }) => name !== tiedName)
      .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
    assert.equal(count, countParameters(large));
    assert.equal(count, 26_100_601_859);
  });
});
