// config.json: published names, strictness, defaults; the ladder of sizes and its parameter counts.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../errors.js';
import {
  countParameters,
  newParameters,
  type PlugConfig,
  PlugModel,
  paddedVocabSize,
  parsePlugConfig,
  plugConfig,
  plugConfigOfSize,
  plugConfigToJson,
  sizeNames,
} from './index.js';

// The fields of the published 27B configuration.
const published = {
  vocab_size: 21504,
  original_vocab_size: 21128,
  hidden_size: 8192,
  num_attention_heads: 128,
  intermediate_size: 32768,
  num_hidden_layers: 24,
  dec_hidden_layers: 6,
  max_position_embeddings: 2048,
  type_vocab_size: 3,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  initializer_range: 0.00707,
  layernorm_epsilon: 1e-12,
  pre_ln: true,
  fp16: true,
  fp32_layernorm: true,
  fp32_embedding: false,
  fp32_tokentypes: false,
  attn_separate: false,
  lr_decay_style: 'linear',
  weight_decay: 0.01,
  clip_grad: 1.0,
  warmup: 0.01,
};

const refused = (json: unknown, pattern: RegExp): void =>
  assert.throws(
    () => parsePlugConfig(json, 'dir/config.json'),
    (error) =>
      error instanceof ConfigError &&
      error.message.startsWith('dir/config.json') &&
      pattern.test(error.message),
    `${JSON.stringify(json)} should be refused with ${pattern}`,
  );

describe('parsePlugConfig', () => {
  it('reads the published configuration', () => {
    assert.deepEqual(parsePlugConfig(published, 'config.json'), {
      vocabSize: 21504,
      originalVocabSize: 21128,
      hiddenSize: 8192,
      numAttentionHeads: 128,
      intermediateSize: 32768,
      numHiddenLayers: 24,
      decHiddenLayers: 6,
      maxPositionEmbeddings: 2048,
      typeVocabSize: 3,
      preLn: true,
      layernormEpsilon: 1e-12,
      hiddenDropoutProb: 0.1,
      attentionProbsDropoutProb: 0.1,
      initializerRange: 0.00707,
      doubleFinalNorm: false,
      maskPaddingVocab: false,
    });
  });

  it('reads a decoder with sizes of its own, and writes them only when they are there', () => {
    const palm = {
      ...published,
      dec_embeddings: 'sinusoidal',
      dec_num_attention_heads: 64,
      dec_intermediate_size: 16384,
      dec_layernorm_epsilon: 1e-6,
      dec_hidden_act: 'gelu_new',
    };
    const config = parsePlugConfig(palm, 'config.json');
    assert.deepEqual(
      [config.decEmbeddings, config.decNumAttentionHeads, config.decIntermediateSize],
      ['sinusoidal', 64, 16384],
    );
    assert.deepEqual(parsePlugConfig(plugConfigToJson(config), 'config.json'), config);
    const plain = plugConfigToJson(parsePlugConfig(published, 'config.json'));
    assert.deepEqual(
      Object.keys(plain).filter((field) => field.startsWith('dec_')),
      ['dec_hidden_layers'],
    );
    refused(
      { ...palm, dec_num_attention_heads: 3 },
      /"hidden_size" \(8192\).*"dec_num_attention_heads" \(3\)/,
    );
    refused({ ...palm, dec_hidden_act: 'relu' }, /"dec_hidden_act" is "relu"/);
    refused({ ...palm, dec_embeddings: 'none' }, /"dec_embeddings" is "none"/);
  });

  it('fills in the published defaults', () => {
    const least = { vocab_size: 100, hidden_size: 8, num_attention_heads: 2, num_hidden_layers: 1 };
    const config = parsePlugConfig(least, 'c');
    assert.equal(config.originalVocabSize, 100);
    assert.equal(config.intermediateSize, 32);
    assert.equal(config.decHiddenLayers, 0);
    assert.equal(config.layernormEpsilon, 1e-5);
    assert.equal(config.initializerRange, 0.00707);
    assert.equal(config.hiddenDropoutProb, 0.1);
    for (const field of Object.keys(least)) {
      const { [field as keyof typeof least]: _, ...rest } = least;
      refused(rest, new RegExp(`"${field}" is missing`));
    }
  });

  it('names the nearest field for an unknown one', () => {
    refused({ ...published, hiden_size: 3 }, /"hiden_size".*"hidden_size"/);
    refused({ ...published, num_hidden_layer: 3 }, /"num_hidden_layer".*"num_hidden_layers"/);
    refused({ ...published, hiddenSize: 3 }, /"hiddenSize".*"hidden_size"/);
    for (const name of ['constructor', 'toString', 'hasOwnProperty'])
      refused({ ...published, [name]: 3 }, /unknown/);
    refused(JSON.parse('{"__proto__": 3}'), /unknown/);
  });

  it('refuses values of the wrong type or out of range, naming field and value', () => {
    const wrong: Record<string, unknown[]> = {
      hidden_size: ['64', 64.5, 0, -64, null, true, [64], 1e300],
      num_hidden_layers: [0, -1, '2'],
      dec_hidden_layers: [-1, 1.5, null],
      pre_ln: ['true', 1, null],
      double_final_norm: ['yes', 0],
      hidden_dropout_prob: [1, -0.1, '0.1', 1.5],
      layernorm_epsilon: [0, -1e-5, '1e-5'],
      initializer_range: [0, 'small'],
      hidden_act: ['relu', 'gelu_new', 3],
    };
    for (const [field, values] of Object.entries(wrong))
      for (const value of values) refused({ ...published, [field]: value }, new RegExp(`"${field}"`));
  });

  it('refuses sizes that do not fit and what is no object', () => {
    refused({ ...published, num_attention_heads: 100 }, /8192.*multiple.*100/);
    refused({ ...published, original_vocab_size: 30000 }, /30000.*larger.*21504/);
    for (const json of [null, 3, 'text', [published], undefined]) refused(json, /expected a JSON object/);
  });

  it('reads back what it writes', () => {
    const size = fc.integer({ min: 1, max: 50 });
    const probability = fc.double({ min: 0, max: 0.99, noNaN: true });
    const config: fc.Arbitrary<PlugConfig> = fc
      .record({
        originalVocabSize: size,
        padding: fc.nat(9),
        headSize: size,
        numAttentionHeads: size,
        intermediateSize: size,
        numHiddenLayers: size,
        decHiddenLayers: fc.nat(9),
        maxPositionEmbeddings: size,
        typeVocabSize: size,
        preLn: fc.boolean(),
        layernormEpsilon: fc.double({ min: 1e-12, max: 0.1, noNaN: true }),
        hiddenDropoutProb: probability,
        attentionProbsDropoutProb: probability,
        initializerRange: fc.double({ min: 1e-4, max: 1, noNaN: true }),
        doubleFinalNorm: fc.boolean(),
        maskPaddingVocab: fc.boolean(),
      })
      .map(({ padding, headSize, ...rest }) => ({
        ...rest,
        vocabSize: rest.originalVocabSize + padding,
        hiddenSize: headSize * rest.numAttentionHeads,
      }));
    fc.assert(
      fc.property(config, (given) => {
        const json: unknown = JSON.parse(JSON.stringify(plugConfigToJson(given)));
        assert.deepEqual(parsePlugConfig(json, 'c'), given);
      }),
    );
  });
});

describe('sizes', () => {
  it('has exactly 26,100,601,859 parameters at 27b', () => {
    const config = plugConfigOfSize('27b', 21128);
    assert.equal(config.vocabSize, 21504);
    assert.equal(countParameters(config), 26_100_601_859);
    assert.deepEqual({ ...config, layernormEpsilon: 1e-12 }, parsePlugConfig(published, 'c'));
  });

  it('grows from name to name, near what the names say', () => {
    const counts = sizeNames.map((name) => countParameters(plugConfigOfSize(name, 21128)));
    for (let at = 1; at < counts.length; at++) assert.ok(counts[at]! > 1.5 * counts[at - 1]!, sizeNames[at]);
    for (const [at, name] of sizeNames.entries())
      if (name.endsWith('b'))
        assert.ok(Math.abs(counts[at]! / 1e9 / Number.parseInt(name, 10) - 1) < 0.35, name);
  });

  it('counts what a model really holds', () => {
    for (const name of ['nano', 'tiny'])
      for (const preLn of [true, false])
        for (const decoder of [{}, { decHiddenLayers: 0 }]) {
          const config = plugConfigOfSize(name, 300, { preLn, maxPositionEmbeddings: 40, ...decoder });
          using model = new PlugModel(config, newParameters(1));
          const real = [...model.parameters.values()].reduce((sum, parameter) => sum + parameter.numel, 0);
          assert.equal(countParameters(config), real, `${name} ${preLn} ${JSON.stringify(decoder)}`);
        }
    const uneven = plugConfig({
      vocabSize: 7,
      hiddenSize: 6,
      numAttentionHeads: 3,
      intermediateSize: 5,
      numHiddenLayers: 3,
      decHiddenLayers: 2,
      maxPositionEmbeddings: 4,
      typeVocabSize: 2,
    });
    using model = new PlugModel(uneven, newParameters(1));
    assert.equal(
      countParameters(uneven),
      [...model.parameters.values()].reduce((sum, parameter) => sum + parameter.numel, 0),
    );
  });

  it('pads the vocabulary as published, and refuses unknown names', () => {
    assert.deepEqual(
      [1, 128, 129, 16384, 16385, 21128].map(paddedVocabSize),
      [128, 128, 256, 16384, 17408, 21504],
    );
    for (const name of ['nanoo', 'constructor', ''])
      assert.throws(() => plugConfigOfSize(name, 100), /Unknown size.*Known: nano, tiny/);
  });
});
