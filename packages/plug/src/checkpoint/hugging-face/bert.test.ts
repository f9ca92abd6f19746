// Hugging Face's BERT: the same outputs as transformers', exact round trips, and nothing passed over in silence.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  type DType,
  liveTensorCount,
  noGrad,
  openSafetensors,
  scope,
  type Tensor,
  zeros,
} from '@openplug/torch';
import { CheckpointError, ConfigError } from '../../errors.js';
import {
  newParameters,
  type PlugConfig,
  PlugModel,
  packTexts,
  plugConfigOfSize,
  storedParameters,
  textBatch,
} from '../../model/index.js';
import { loadTokenizer } from '../../text/index.js';
import { loadModel, type OpenedModel, openModelFolder, saveModel, writeModelFolder } from '../index.js';
import { bertTiny, contentsOf, editedBert, temporaryFolder } from './bert.test-support.js';
import { exportBert, openBert } from './index.js';

const parent = temporaryFolder();
const rename = (from: RegExp, to: string) => (tensors: Map<string, Tensor>) => {
  for (const [name, tensor] of [...tensors]) {
    tensors.delete(name);
    tensors.set(name.replace(from, to), tensor);
  }
};

/** Sources, types and outputs that transformers computed in float64; of the outputs only rows of real tokens. */
function readExpected() {
  return scope(() => {
    using file = openSafetensors(join(bertTiny, 'expected.safetensors'));
    const rowsOf = (name: string): number[][] => {
      const tensor = file.tensor(name);
      const width = tensor.shape[1]!;
      const values = tensor.toArray().map(Number);
      return Array.from({ length: tensor.shape[0]! }, (_, row) =>
        values.slice(row * width, (row + 1) * width),
      );
    };
    const lengths = rowsOf('attention_mask').map((row) => row.filter((one) => one === 1).length);
    const real = (rows: number[][]): number[][] => rows.map((row, index) => row.slice(0, lengths[index]));
    const states = (name: string): number[] => {
      const tensor = file.tensor(name);
      return lengths.flatMap((length, row) => tensor.select(0, row).narrow(0, 0, length).toArray());
    };
    return {
      ids: real(rowsOf('input_ids')),
      types: real(rowsOf('token_type_ids')),
      layers: [states('hidden_states.1'), states('hidden_states.2')],
      logits: states('prediction_logits'),
    };
  });
}

function largestError(found: Tensor, wanted: readonly number[]): number {
  const values = found.toArray();
  assert.equal(values.length, wanted.length);
  return Math.max(...wanted.map((value, index) => Math.abs(values[index]! - value)));
}

/** The largest errors after each layer and of the logits. */
function errorsOf({ weights, config }: OpenedModel, dtype: 'float32' | 'float64'): number[] {
  const { ids, types, layers, logits } = readExpected();
  const options = { computeDType: dtype };
  return noGrad(() =>
    scope(() => {
      const batch = textBatch(packTexts(ids, types));
      const errors = layers.map((wanted, index) => {
        const cut = { ...config, numHiddenLayers: index + 1 };
        using model = new PlugModel(cut, storedParameters(weights, weights.path, dtype));
        return largestError(model.encode(batch, options), wanted);
      });
      using model = new PlugModel(config, storedParameters(weights, weights.path, dtype));
      const encoded = model.encode(batch, options);
      return [...errors, largestError(model.mlmLogits(encoded, options), logits)];
    }),
  );
}

describe("Hugging Face's BERT", () => {
  for (const [dtype, budget] of [
    ['float32', 3e-5],
    ['float64', 1e-12],
  ] as const)
    it(`computes what transformers computes, ${dtype}`, (context) => {
      using opened = openBert(bertTiny);
      const errors = errorsOf(opened, dtype);
      context.diagnostic(`largest errors: ${errors.map((error) => error.toExponential(1)).join(', ')}`);
      assert.ok(Math.max(...errors) <= budget, `${errors}`);
    });

  it('is read as what it is', () => {
    const live = liveTensorCount();
    {
      using opened = openBert(bertTiny);
      assert.match(opened.kind, /Hugging Face BERT, 2 layers of 16/);
      assert.deepEqual(opened.config, {
        vocabSize: 49,
        originalVocabSize: 49,
        hiddenSize: 16,
        numAttentionHeads: 2,
        intermediateSize: 24,
        numHiddenLayers: 2,
        decHiddenLayers: 0,
        maxPositionEmbeddings: 16,
        typeVocabSize: 2,
        preLn: false,
        layernormEpsilon: 1e-12,
        hiddenDropoutProb: 0.1,
        attentionProbsDropoutProb: 0.1,
        initializerRange: 0.02,
        doubleFinalNorm: false,
        maskPaddingVocab: false,
      } satisfies PlugConfig);
      assert.deepEqual(opened.weights.info('bert.encoder.layer.1.attention.self.query_key_value.weight'), {
        dtype: 'float32',
        shape: [48, 16],
      });
      assert.equal(opened.notes.length, 1);
      assert.match(opened.notes[0]!, /sentence relation starts anew.*two classes.*three/);
    }
    assert.equal(liveTensorCount(), live);
  });

  it('becomes a model folder, with the case of its tokenizer', async () => {
    const folder = join(parent, 'imported');
    using opened = openBert(bertTiny);
    await writeModelFolder(folder, opened, { dtype: 'float32' });
    using model = loadModel(folder);
    assert.deepEqual(model.config, opened.config);
    using again = openModelFolder(folder);
    assert.deepEqual(contentsOf(again.weights), contentsOf(opened.weights));
    const tokenizer = loadTokenizer(folder);
    assert.deepEqual([...tokenizer.encode('A a')], [tokenizer.tokenToId('A'), tokenizer.tokenToId('a')]);
  });

  describe('in other forms', () => {
    const usual = (() => {
      using opened = openBert(bertTiny);
      return contentsOf(opened.weights);
    })();
    const same = (folder: string): void => {
      using opened = openBert(folder);
      assert.deepEqual(contentsOf(opened.weights), usual);
    };

    it('as pytorch_model.bin with the names of the earliest ports', () => {
      const folder = join(parent, 'torch');
      mkdirSync(folder);
      for (const name of ['config.json', 'vocab.txt', 'tokenizer_config.json', 'pytorch_model.bin'])
        copyFileSync(join(bertTiny, name), join(folder, name));
      same(folder);
    });

    it('with gamma and beta, positions as a buffer, and tied copies', () => {
      const folder = editedBert(parent, {
        tensors(tensors) {
          rename(/LayerNorm\.weight$/, 'LayerNorm.gamma')(tensors);
          rename(/LayerNorm\.bias$/, 'LayerNorm.beta')(tensors);
          tensors.set('bert.embeddings.position_ids', zeros([1, 16], 'int64'));
          tensors.set(
            'cls.predictions.decoder.weight',
            tensors.get('bert.embeddings.word_embeddings.weight')!,
          );
          tensors.set('cls.predictions.decoder.bias', tensors.get('cls.predictions.bias')!);
        },
      });
      same(folder);
    });

    it("with the masked-LM bias under the decoder's name alone", () => {
      same(editedBert(parent, { tensors: rename(/cls\.predictions\.bias/, 'cls.predictions.decoder.bias') }));
    });

    it('with a prefix before all names, or none before the encoder', () => {
      same(editedBert(parent, { tensors: rename(/^/, 'module.') }));
      same(editedBert(parent, { tensors: rename(/^bert\./, '') }));
    });

    it('in half precision, whose dtype new heads take', () => {
      const folder = editedBert(parent, {
        tensors(tensors) {
          for (const [name, tensor] of tensors) tensors.set(name, tensor.to('bfloat16'));
        },
      });
      using opened = openBert(folder);
      for (const name of opened.weights.names()) {
        assert.equal(opened.weights.info(name).dtype, 'bfloat16', name);
        using tensor = opened.weights.tensor(name);
        assert.deepEqual([tensor.dtype, tensor.shape], ['bfloat16', opened.weights.info(name).shape]);
      }
    });

    it('in several files', () => {
      const folder = editedBert(parent, {});
      const all = readFileSync(join(folder, 'model.safetensors'));
      const names = (() => {
        using file = openSafetensors(join(folder, 'model.safetensors'));
        return file.names();
      })();
      const one = 'model-00001-of-00001.safetensors';
      const other = editedBert(parent, {});
      writeFileSync(join(other, one), all);
      writeFileSync(
        join(other, 'model.safetensors.index.json'),
        JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(names.map((name) => [name, one])) }),
      );
      same(other);
    });

    it('as an encoder alone: heads start anew, and a head of a task is left out', () => {
      const folder = editedBert(parent, {
        tensors(tensors) {
          for (const name of [...tensors.keys()]) if (/^cls\.|pooler/.test(name)) tensors.delete(name);
          tensors.set('classifier.weight', zeros([2, 16]));
          tensors.set('classifier.bias', zeros([2]));
        },
      });
      using opened = openBert(folder);
      const notes = opened.notes.join('\n');
      for (const pattern of [
        /The pooler.*anew/,
        /The masked-LM head.*anew/,
        /sentence relation.*anew/,
        /classifier\.weight/,
      ])
        assert.match(notes, pattern);
      assert.equal(opened.notes.length, 4);
      const found = contentsOf(opened.weights);
      assert.deepEqual([...found.keys()], [...usual.keys()]);
      for (const [name, content] of usual)
        if (/^bert\.(?!pooler)/.test(name)) assert.equal(found.get(name), content, name);
      using norm = opened.weights.tensor('cls.predictions.transform.LayerNorm.weight');
      assert.deepEqual(norm.toArray(), new Array(16).fill(1));
      using dense = opened.weights.tensor('cls.predictions.transform.dense.weight');
      assert.ok(Math.abs(Math.hypot(...dense.toArray()) / (16 * 0.02) - 1) < 0.2);
    });

    it('with a note on fields of config.json that it does not know', () => {
      using opened = openBert(
        editedBert(parent, {
          config: (config) => {
            config.flavour = 'salt';
            config.id2label = {};
          },
        }),
      );
      assert.match(opened.notes[0]!, /left aside: flavour\.$/);
    });

    it('without vocab.txt, with a note; with a shorter one, whose entries count', () => {
      const folder = editedBert(parent, {});
      const tokens = readFileSync(join(folder, 'vocab.txt'), 'utf8').trimEnd().split('\n');
      writeFileSync(join(folder, 'vocab.txt'), `${tokens.slice(0, 40).join('\n')}\n`);
      using shorter = openBert(folder);
      assert.deepEqual([shorter.config.vocabSize, shorter.config.originalVocabSize], [49, 40]);
      writeFileSync(join(folder, 'vocab.txt'), `${[...tokens, 'one', 'more'].join('\n')}\n`);
      assert.throws(() => openBert(folder), /vocab\.txt has 51 entries, but the model 49 rows/);
    });
  });
});

describe('what is no BERT of ours', () => {
  const refused = (
    folder: string,
    type: typeof ConfigError | typeof CheckpointError,
    pattern: RegExp,
  ): void => {
    const live = liveTensorCount();
    assert.throws(
      () => openBert(folder),
      (error: Error) => {
        assert.ok(error instanceof type, `${error}`);
        assert.match(error.message, pattern);
        assert.ok(error.message.includes(folder), error.message);
        return true;
      },
    );
    assert.equal(liveTensorCount(), live);
  };

  for (const [field, value] of Object.entries({
    model_type: 'roberta',
    hidden_act: 'relu',
    position_embedding_type: 'relative_key',
    is_decoder: true,
    add_cross_attention: true,
    pruned_heads: { 1: [0] },
    quantization_config: { bits: 4 },
    embedding_size: 8,
    hidden_size: '16',
    layer_norm_eps: 0,
    num_attention_heads: 3,
  }))
    it(`config.json with ${field} ${JSON.stringify(value)} names the field`, () => {
      const folder = editedBert(parent, {
        config: (config) => {
          config[field] = value;
        },
      });
      refused(folder, ConfigError, new RegExp(`"${field}"`));
    });

  it('fields that are null are not set', () => {
    const folder = editedBert(parent, {
      config: (config) => {
        config.pruned_heads = null;
        config.layer_norm_eps = null;
      },
    });
    using opened = openBert(folder);
    assert.equal(opened.config.layernormEpsilon, 1e-12);
  });

  const layer = 'bert.encoder.layer.1';
  for (const [what, tensors, pattern] of [
    [
      'a missing tensor',
      (map) => map.delete(`${layer}.attention.self.key.bias`),
      /self\.key\.bias".*\[16\].*missing/,
    ],
    [
      'half a head',
      (map) => map.delete('cls.predictions.transform.dense.bias'),
      /transform\.dense\.bias".*missing/,
    ],
    [
      'a misshapen tensor',
      (map) => map.set(`${layer}.output.dense.weight`, zeros([24, 16])),
      /output\.dense\.weight" has shape \[24,16\], expected \[16,24\]/,
    ],
    [
      'an unknown tensor',
      (map) => map.set('bert.encoder.layer.2.output.dense.bias', zeros([16])),
      /layer\.2\.output\.dense\.bias" belongs to no part/,
    ],
    [
      'integers',
      (map) => map.set(`${layer}.output.dense.bias`, zeros([16], 'int64')),
      /output\.dense\.bias" is int64/,
    ],
    [
      'parts of two dtypes',
      (map) => map.set(`${layer}.attention.self.value.bias`, zeros([16], 'float16')),
      /self\.value\.bias" is float16; expected float32/,
    ],
    [
      'an output embedding of its own',
      (map) => map.set('cls.predictions.decoder.weight', zeros([49, 16])),
      /decoder\.weight" differs from "bert\.embeddings/,
    ],
    [
      'two word embeddings',
      (map) => map.set('other.embeddings.word_embeddings.weight', zeros([49, 16])),
      /holds no BERT/,
    ],
    [
      'a sentence head of four classes',
      (map) => {
        map.set('cls.seq_relationship.weight', zeros([4, 16]));
      },
      /seq_relationship\.weight" has shape \[4,16\], expected \[3,16\]/,
    ],
  ] as [string, (map: Map<string, Tensor>) => void, RegExp][])
    it(`${what} is named`, () => refused(editedBert(parent, { tensors }), CheckpointError, pattern));

  it('no weights, no config.json and no JSON are told apart', () => {
    const folder = join(parent, 'empty');
    mkdirSync(folder);
    refused(folder, ConfigError, /config\.json cannot be read as JSON/);
    writeFileSync(join(folder, 'config.json'), '[]');
    refused(folder, ConfigError, /expected a JSON object/);
    writeFileSync(join(folder, 'config.json'), '{"model_type": "bert"}');
    refused(folder, CheckpointError, /no weights: looked for model\.safetensors.*pytorch_model\.bin/);
  });
});

describe('export to the BERT layout', () => {
  const heads = /seq_relationship/; // three classes of ours for two of theirs

  it('gives back every tensor of the file that was read, bit for bit', async () => {
    using opened = openBert(bertTiny);
    const out = join(parent, 'exported');
    const notes = await exportBert(opened, out);
    assert.match(notes.join(), /three classes/);
    using written = openSafetensors(join(out, 'model.safetensors'));
    using original = openSafetensors(join(bertTiny, 'model.safetensors'));
    assert.deepEqual(written.metadata, { format: 'pt' });
    const [found, wanted] = [contentsOf(written), contentsOf(original)];
    assert.deepEqual([...found.keys()], [...wanted.keys()]);
    for (const [name, content] of wanted) if (!heads.test(name)) assert.equal(found.get(name), content, name);
    for (const name of ['vocab.txt', 'tokenizer_config.json'])
      assert.deepEqual(readFileSync(join(out, name)), readFileSync(join(bertTiny, name)));
  });

  it('and import again is the same model, in every dtype, with its three classes', async () => {
    for (const dtype of ['float32', 'float16', 'bfloat16'] satisfies DType[]) {
      const folder = join(parent, `post-ln ${dtype}`);
      const config = plugConfigOfSize('nano', 49, { preLn: false, vocabSize: 64, typeVocabSize: 3 });
      using model = new PlugModel(config, newParameters(2, dtype));
      saveModel(folder, model);
      for (const name of ['vocab.txt', 'tokenizer_config.json'])
        writeFileSync(join(folder, name), readFileSync(join(bertTiny, name)));
      using opened = openModelFolder(folder);
      const out = join(parent, `round trip ${dtype}`);
      const notes = await exportBert(opened, out);
      assert.match(notes.join(), /decoder was left behind/);
      using again = openBert(out);
      assert.deepEqual(again.config, { ...config, decHiddenLayers: 0 });
      const wanted = [...contentsOf(opened.weights)].filter(([name]) => !name.startsWith('decoder.'));
      assert.deepEqual([...contentsOf(again.weights)], wanted);
      assert.match(again.notes.join(), /three classes are taken as StructBERT's/);
    }
  });

  it('leaves nothing behind when a tensor is missing, and writes into no folder that is in use', async () => {
    using opened = openBert(bertTiny);
    const out = join(parent, 'not written');
    const more = { ...opened.config, numHiddenLayers: 3 };
    await assert.rejects(exportBert({ ...opened, config: more }, out), /layer\.2\..* is missing/);
    await assert.rejects(
      exportBert({ ...opened, filesBeside: [join(parent, 'nowhere', 'vocab.txt')] }, out),
      /nowhere.*vocab\.txt/,
    );
    assert.deepEqual([existsSync(out), existsSync(`${out}.unfinished`)], [false, false]);
    await assert.rejects(exportBert(opened, bertTiny), /is not empty/);
  });

  it('is refused for a pre-LN encoder, saying why', async () => {
    using model = new PlugModel(plugConfigOfSize('nano', 50), newParameters(1));
    saveModel(join(parent, 'pre-ln'), model);
    using opened = openModelFolder(join(parent, 'pre-ln'));
    const out = join(parent, 'never');
    await assert.rejects(
      exportBert(opened, out),
      (error) => error instanceof ConfigError && /pre_ln.*Only post-LN/s.test(error.message),
    );
    assert.equal(existsSync(out), false);
  });
});
