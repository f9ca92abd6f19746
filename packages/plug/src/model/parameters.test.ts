// How a new model starts, what decays, and which names are on disk.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { choosingParameters, decaysWeight, newParameters, PlugModel, plugConfig } from './index.js';

const config = plugConfig({
  vocabSize: 600,
  hiddenSize: 64,
  numAttentionHeads: 4,
  numHiddenLayers: 3,
  decHiddenLayers: 2,
  maxPositionEmbeddings: 128,
  initializerRange: 0.02,
});

const decoderOutputs = /^decoder\..*(attention\.dense|cross_attention\.dense|\.output)\.weight$/;

describe('new parameters', () => {
  it('are normal with the specified deviations, LayerNorm 1 and 0, biases 0', () => {
    using model = new PlugModel(config, newParameters(3));
    let narrow = 0;
    for (const [name, parameter] of model.parameters) {
      const values = parameter.toArray();
      if (/bias$/.test(name))
        assert.ok(
          values.every((value) => value === 0),
          name,
        );
      else if (/layernorm/i.test(name))
        assert.ok(
          values.every((value) => value === 1),
          name,
        );
      else {
        if (decoderOutputs.test(name)) narrow++;
        const std = decoderOutputs.test(name) ? 0.02 / Math.sqrt(2 * 3) : 0.02;
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        const found = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
        const fourth = values.reduce((sum, value) => sum + value ** 4, 0) / values.length;
        // Five standard errors: of the deviation 1/√(2n), of the mean 1/√n, of the kurtosis √(24/n).
        const error = 5 / Math.sqrt(values.length);
        assert.ok(Math.abs(found / std - 1) < error / Math.SQRT2, `${name}: deviation ${found}, not ${std}`);
        assert.ok(Math.abs(mean) < error * std, `${name}: mean ${mean}`);
        assert.ok(Math.abs(fourth / found ** 4 - 3) < error * Math.sqrt(24) + 0.05, `${name}: not normal`);
      }
    }
    assert.equal(narrow, 2 * 3, 'output projections of the decoder');
  });

  it('are the same bits for the same seed and other numbers for another', () => {
    const values = (seed: number): Map<string, number[]> => {
      using model = new PlugModel(config, newParameters(seed));
      return new Map([...model.parameters].map(([name, parameter]) => [name, parameter.toArray()]));
    };
    const [first, again, other] = [values(1), values(1), values(2)];
    assert.deepEqual(again, first);
    const seen = new Map<string, string>();
    for (const [name, numbers] of first) {
      if (new Set(numbers).size === 1) continue; // a constant
      assert.notDeepEqual(other.get(name), numbers, name);
      const start = numbers
        .slice(0, 16)
        .map((value) => (value / numbers[0]!).toFixed(4))
        .join();
      assert.ok(!seen.has(start), `${name} starts like ${seen.get(start)}`);
      seen.set(start, name);
    }
  });

  it('are the same numbers in float64 and, rounded, in bfloat16', () => {
    const get = (dtype: 'float32' | 'float64' | 'bfloat16'): number[] => {
      using parameter = newParameters(4, dtype).get('a.weight', [50], { std: 1 });
      return parameter.toArray();
    };
    assert.deepEqual(get('float64'), get('float32'));
    for (const [at, value] of get('bfloat16').entries())
      assert.ok(Math.abs(value / get('float32')[at]! - 1) <= 2 ** -8);
  });

  it('leave the encoder as it was when a decoder is added', () => {
    using full = new PlugModel(config, newParameters(3));
    using encoder = new PlugModel({ ...config, decHiddenLayers: 0 }, newParameters(3));
    for (const [name, parameter] of encoder.parameters)
      assert.deepEqual(full.parameters.get(name)!.toArray(), parameter.toArray(), name);
    const added = [...full.parameters.keys()].filter((name) => !encoder.parameters.has(name));
    assert.ok(added.length > 0 && added.every((name) => name.startsWith('decoder.decoder.')));
  });

  it('take some parts from another source', () => {
    const source = choosingParameters(['decoder.', 'cls.seq'], newParameters(8), newParameters(3));
    using mixed = new PlugModel(config, source);
    using general = new PlugModel(config, newParameters(3));
    using special = new PlugModel(config, newParameters(8));
    for (const [name, parameter] of mixed.parameters) {
      const wanted = /^(decoder\.|cls\.seq)/.test(name) ? special : general;
      assert.deepEqual(parameter.toArray(), wanted.parameters.get(name)!.toArray(), name);
    }
  });
});

describe('names', () => {
  it('are the published ones', () => {
    const names = (preLn: boolean): string[] => {
      using model = new PlugModel(
        { ...config, preLn, numHiddenLayers: 1, decHiddenLayers: 1 },
        newParameters(1),
      );
      return [...model.parameters.keys()];
    };
    const dense = (name: string): string[] => [`${name}.weight`, `${name}.bias`];
    const shared = [
      ...['word', 'position', 'token_type'].map((kind) => `bert.embeddings.${kind}_embeddings.weight`),
      ...dense('bert.embeddings.LayerNorm'),
      ...dense('bert.encoder.layer.0.attention.self.query_key_value'),
      ...dense('bert.encoder.layer.0.attention.output.dense'),
      ...dense('bert.encoder.layer.0.intermediate.dense'),
      ...dense('bert.encoder.layer.0.output.dense'),
      ...dense('bert.pooler.dense'),
      ...dense('cls.predictions.transform.dense'),
      ...dense('cls.predictions.transform.LayerNorm'),
      'cls.predictions.bias',
      ...dense('cls.seq_relationship'),
      ...[
        'input_layernorm',
        'attention.query_key_value',
        'attention.dense',
        'post_attention_layernorm',
        'cross_attention.query',
        'cross_attention.key_value',
        'cross_attention.dense',
        'post_cross_attention_layernorm',
        'intermediate',
        'output',
      ].flatMap((part) => dense(`decoder.decoder.layer.0.${part}`)),
      ...dense('decoder.decoder.final_layernorm'),
    ];
    const layer = 'bert.encoder.layer.0';
    const pre = [`${layer}.attention.LayerNorm`, `${layer}.LayerNorm`, 'bert.encoder.LayerNorm'];
    const post = [`${layer}.attention.output.LayerNorm`, `${layer}.output.LayerNorm`];
    assert.deepEqual(names(true).sort(), [...shared, ...pre.flatMap(dense)].sort());
    assert.deepEqual(names(false).sort(), [...shared, ...post.flatMap(dense)].sort());
  });

  it('decide on weight decay: all but biases and LayerNorm', () => {
    using model = new PlugModel(config, newParameters(1));
    for (const [name, parameter] of model.parameters)
      assert.equal(decaysWeight(name), parameter.shape.length === 2, name);
  });
});
