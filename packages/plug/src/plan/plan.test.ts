// What a plan says against what models, files and formulas written out by hand say. Measured memory: bench, `plan`.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { liveTensorBytes } from '@openplug/torch';
import { bytesOf } from '../checkpoint/index.js';
import { piecesOf } from '../checkpoint/weight-format.js';
import { ConfigError } from '../errors.js';
import {
  countParameters,
  newParameters,
  type PlugConfig,
  PlugModel,
  packedLayers,
  plugConfig,
  plugConfigOfSize,
  sizeNames,
} from '../model/index.js';
import { encoderLayer } from './activations.js';
import {
  checkWork,
  countByPart,
  decodingOperations,
  diskBytes,
  encodingOperations,
  hardwareTable,
  type InferenceWork,
  inferenceMemory,
  inferenceTime,
  remedies,
  smallestMesh,
  type TrainingWork,
  totalBytes,
  trainingMemory,
  trainingOperations,
  trainingTime,
} from './index.js';
import { plannedParameters } from './parameters.js';

const oneRank = { data: 1, tensor: 1 };
const uneven: PlugConfig = plugConfig({
  vocabSize: 192,
  hiddenSize: 24,
  numAttentionHeads: 4,
  intermediateSize: 40,
  numHiddenLayers: 3,
  decHiddenLayers: 2,
  maxPositionEmbeddings: 20,
});
const work: TrainingWork = {
  dtype: 'bfloat16',
  optimizer: 'adamw',
  recompute: false,
  batch: 8,
  sourceLength: 512,
  targetLength: 512,
  mesh: oneRank,
};

const writing: InferenceWork = {
  precision: 'int8',
  batch: 1,
  sourceLength: 512,
  targetLength: 128,
  mesh: oneRank,
};

describe('parameters by part', () => {
  it('are those of the published 27B: 26,100,601,859 with the pooler and the sentence head', () => {
    const counts = countByPart(plugConfigOfSize('27b', 21128));
    const e = 8192;
    assert.equal(counts.embeddings, (21504 + 2048 + 3) * e + 2 * e);
    assert.equal(
      counts.maskedLmHead,
      e * e + e + 2 * e + 21504,
      'the tied output embedding is not counted again',
    );
    assert.equal(counts.pooler, 67_117_056);
    assert.equal(counts.sentenceHead, 24_579);
    assert.equal(counts.encoder, 19_329_925_120);
    assert.equal(counts.decoder, 6_443_401_216);
    assert.equal(
      Object.values(counts).reduce((sum, count) => sum + count, 0),
      26_100_601_859,
    );
  });

  it('sum to the count of every size', () => {
    for (const name of sizeNames) {
      const config = plugConfigOfSize(name, 21128);
      const sum = Object.values(countByPart(config)).reduce((all, count) => all + count, 0);
      assert.equal(sum, countParameters(config), name);
    }
  });

  it('divide over ranks as the published shards do', () => {
    const shapes = new Map(plannedParameters(uneven, 4).map(({ name, rankShape }) => [name, rankShape]));
    const expected: Record<string, number[]> = {
      'bert.embeddings.word_embeddings.weight': [48, 24],
      'bert.embeddings.position_embeddings.weight': [20, 24],
      'bert.encoder.layer.0.attention.self.query_key_value.weight': [18, 24],
      'bert.encoder.layer.0.attention.self.query_key_value.bias': [18],
      'bert.encoder.layer.0.attention.output.dense.weight': [24, 6],
      'bert.encoder.layer.0.attention.output.dense.bias': [24],
      'bert.encoder.layer.0.intermediate.dense.weight': [10, 24],
      'bert.encoder.layer.0.output.dense.weight': [24, 10],
      'bert.encoder.layer.0.LayerNorm.weight': [24],
      'bert.pooler.dense.weight': [24, 24],
      'cls.predictions.bias': [48],
      'cls.predictions.transform.dense.weight': [24, 24],
      'decoder.decoder.layer.1.attention.query_key_value.weight': [18, 24],
      'decoder.decoder.layer.1.attention.dense.weight': [24, 6],
      'decoder.decoder.layer.1.cross_attention.query.bias': [6],
      'decoder.decoder.layer.1.cross_attention.key_value.weight': [12, 24],
      'decoder.decoder.layer.1.cross_attention.dense.weight': [24, 6],
      'decoder.decoder.layer.1.intermediate.bias': [10],
      'decoder.decoder.layer.1.output.weight': [24, 10],
      'decoder.decoder.layer.1.output.bias': [24],
    };
    for (const [name, shape] of Object.entries(expected)) assert.deepEqual(shapes.get(name), shape, name);
  });
});

describe('memory', () => {
  it('of packed weights is what a packed model holds', () => {
    const before = liveTensorBytes();
    using _ = new PlugModel(uneven, newParameters(1), packedLayers('float32'));
    const held = liveTensorBytes() - before;
    const plan = inferenceMemory(uneven, { ...writing, precision: 'float32' });
    assert.equal(plan.weights + plan.outputEmbedding + plan.embeddings + plan.vectors, held);
  });

  it('on disk is what a model folder holds', () => {
    const config = plugConfigOfSize('tiny', 300);
    const stored = (format: Parameters<typeof piecesOf>[1], of = config): number =>
      piecesOf(of, format)
        .flatMap(({ tensors }) => tensors)
        .reduce((sum, [, info]) => sum + bytesOf(info), 0);
    assert.equal(diskBytes(config, 'int8'), stored({ precision: 'int8' }));
    assert.equal(diskBytes(config, 'float16'), stored({ dtype: 'float16' }));
    assert.equal(diskBytes(config, 'float32'), stored({ dtype: 'float32' }));
    assert.equal(diskBytes(config, 'int4'), stored({ precision: 'int4' }));
    const palm = plugConfigOfSize('nano', 300, { decEmbeddings: 'sinusoidal' });
    assert.equal(diskBytes(palm, 'int8'), stored({ precision: 'int8' }, palm));
  });

  it('of an encoder layer is the sum of the tensors that its graph saves', () => {
    const sizes = { config: uneven, rows: 1, source: 10, target: 0, labels: 0, width: 2, tensor: 1 };
    const float32 = 2 * 24 + 2 * 2 + 2 * 4; // two norm inputs, their statistics, the scores' statistics of 4 heads
    const bfloat16 = 24 + 3 * 24 + 24 + 24 + 2 * 40; // two normalised, projected, attended, around gelu
    assert.equal(encoderLayer(sizes).kept, 10 * (4 * float32 + 2 * bfloat16));
    const quarter = 4 * (2 * 24 + 2 * 2 + 2) + 2 * (2 * 24 + (3 * 24 + 24 + 2 * 40) / 4);
    assert.equal(encoderLayer({ ...sizes, tensor: 4 }).kept, 10 * quarter);
  });

  it('of training is least with recomputation, and its kinds sum to the total', () => {
    const config = plugConfigOfSize('base', 21128);
    for (const recompute of [false, true]) {
      const { total, moment, ...kinds } = trainingMemory(config, { ...work, recompute });
      assert.equal(
        Object.values(kinds).reduce((sum, bytes) => sum + bytes, 0),
        total,
      );
      assert.match(moment, /^(forward|backward), /);
    }
    const bytes = (changes: Partial<TrainingWork>): number =>
      trainingMemory(config, { ...work, ...changes }).total;
    assert.ok(bytes({ recompute: true }) < 0.7 * bytes({}));
    assert.ok(bytes({ batch: 4 }) < bytes({}));
    assert.ok(bytes({ dtype: 'float32' }) > bytes({}));
    assert.equal(bytes({}) - bytes({ optimizer: 'sgd' }), 8 * countParameters(config));
  });
});

describe('operations and time', () => {
  it('are about 6 for each weight and token that meet', () => {
    const { hiddenSize: e, intermediateSize: f, vocabSize: v, numHiddenLayers, decHiddenLayers } = uneven;
    const layers = numHiddenLayers * (4 * e * e + 2 * e * f) + decHiddenLayers * (8 * e * e + 2 * e * f);
    const attention = numHiddenLayers * 2 * e + decHiddenLayers * (e + 2 * e);
    const heads = e * e + 2 * e * v;
    const batch = { batch: 1, sourceLength: 1, targetLength: 1 };
    assert.equal(trainingOperations(uneven, batch, { labels: 1 }), 6 * (layers + attention + heads));
    assert.equal(
      trainingOperations(uneven, batch, { labels: 1, recompute: true }),
      8 * (layers + attention) + 6 * heads,
    );
    // Encoding and then writing the one token is the forward pass without the masked-LM head.
    assert.equal(
      encodingOperations(uneven, batch) + decodingOperations(uneven, batch),
      2 * (layers + attention + e * v),
    );
  });

  it('turn into rates by the shares that are assumed', () => {
    const config = plugConfigOfSize('large', 21128);
    const machine = { ...hardwareTable['cpu-2'], bandwidth: Number.POSITIVE_INFINITY };
    const { secondsPerStep, tokensPerSecond } = trainingTime(config, work, machine);
    assert.equal(secondsPerStep, trainingOperations(config, work) / (0.7 * 0.93e12));
    assert.equal(tokensPerSecond, 8192 / secondsPerStep);
    const rate = (precision: InferenceWork['precision']): number =>
      inferenceTime(plugConfigOfSize('27b', 21128), { ...writing, precision }, hardwareTable['cpu-2'])
        .tokensPerSecond;
    assert.ok(rate('int4') > 1.6 * rate('int8'), 'one text is written as fast as weights are read');
    assert.ok(rate('int8') > 1.8 * rate('bfloat16'));
  });
});

describe('meshes', () => {
  const config = plugConfigOfSize('27b', 21128);

  it('are the smallest that fit', () => {
    const { memoryBytes } = hardwareTable['a100-80'];
    const mesh = smallestMesh(config, work, memoryBytes)!;
    assert.ok(totalBytes(config, { ...work, mesh }) <= memoryBytes);
    assert.ok(totalBytes(config, { ...work, mesh: { ...mesh, tensor: mesh.tensor / 2 } }) > memoryBytes);
    assert.equal(smallestMesh(config, work, 1e9), undefined);
  });

  it('and other remedies fit where the work itself does not', () => {
    const base = plugConfigOfSize('base', 21128);
    const memoryBytes = 3e9;
    assert.ok(totalBytes(base, work) > memoryBytes);
    const found = remedies(base, work, memoryBytes);
    assert.ok(found.some(({ flags }) => flags.includes('--recompute')));
    for (const { total } of found) assert.ok(total <= memoryBytes);
    const bits = remedies(config, { ...writing, precision: 'bfloat16' }, 24e9);
    assert.deepEqual(
      bits.map(({ flags }) => flags),
      ['--dtype int4', '--tensor 4'],
    );
  });

  it('must divide the model and the batch, and texts must fit its positions', () => {
    const refused = (changes: Partial<TrainingWork>, message: RegExp): void =>
      assert.throws(
        () => checkWork(config, { ...work, ...changes }, changes.mesh ?? oneRank),
        (error) => error instanceof ConfigError && message.test(error.message),
      );
    refused({ mesh: { data: 1, tensor: 3 } }, /--tensor is 3, .* heads \(128\): use 1, 2, 4, /);
    refused({ mesh: { data: 9, tensor: 1 } }, /--data is 9, .* only 8 texts/);
    refused({ sourceLength: 4096 }, /--source-length is 4096, but this model has 2048 positions/);
  });
});
