// PALM 2.0: what a float64 oracle computes of the published layout, and what is refused.
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  liveTensorCount,
  noGrad,
  openSafetensors,
  scope,
  type Tensor,
  writeSafetensors,
  zeros,
} from '@openplug/torch';
import { CheckpointError, ConfigError } from '../../errors.js';
import { countParameters, PlugModel, packTexts, storedParameters, textBatch } from '../../model/index.js';
import { loadTokenizer } from '../../text/index.js';
import { loadModel, type OpenedModel, openModelFolder, splitToShards, writeModelFolder } from '../index.js';
import { openTorchCheckpoint } from '../pickle/index.js';
import { contentsOf, temporaryFolder } from './bert.test-support.js';
import { exportBert, huggingFaceKind, openBert, openPalm } from './index.js';

const palmTiny = fileURLToPath(new URL('../../../test-data/palm-tiny', import.meta.url));
const bertTiny = fileURLToPath(new URL('../../../test-data/bert-tiny', import.meta.url));
const parent = temporaryFolder();

interface Example {
  source: number[];
  target: number[];
  encoded: number[];
  logits: number[];
}

function readExamples(): Example[] {
  using file = openSafetensors(join(palmTiny, 'expected.safetensors'));
  const read = (name: string): number[] => scope(() => file.tensor(name).toArray().map(Number));
  return [0, 1, 2].map((index) => ({
    source: read(`${index}.source`),
    target: read(`${index}.target`),
    encoded: read(`${index}.encoded`),
    logits: read(`${index}.logits`),
  }));
}

function largestError(found: Tensor, wanted: readonly number[]): number {
  const values = found.toArray();
  assert.equal(values.length, wanted.length);
  return Math.max(...wanted.map((value, index) => Math.abs(values[index]! - value)));
}

/** Largest errors of all texts in one batch: of the encoder's states, the logits, and the logits step by step. */
function errorsOf(model: PlugModel, computeDType: 'float32' | 'float64'): number[] {
  const examples = readExamples();
  const options = { computeDType };
  return noGrad(() =>
    scope(() => {
      const source = textBatch(packTexts(examples.map((example) => example.source)));
      const target = textBatch(packTexts(examples.map((example) => example.target)));
      const encoded = model.encode(source, options);
      const logits = model.lmLogits(model.decode(target, encoded, source.layout, options), options);
      const last = examples[2]!;
      const alone = textBatch(packTexts([last.source]));
      using cache = model.startDecoding(
        model.encode(alone, options),
        alone.layout,
        last.target.length,
        options,
      );
      const steps = last.target.flatMap((id) => model.nextLogits([id], cache).toArray());
      return [
        largestError(
          encoded,
          examples.flatMap((example) => example.encoded),
        ),
        largestError(
          logits,
          examples.flatMap((example) => example.logits),
        ),
        Math.max(...steps.map((value, index) => Math.abs(value - last.logits[index]!))),
      ];
    }),
  );
}

function modelOf({ weights, config }: OpenedModel, dtype: 'float32' | 'float64'): PlugModel {
  return new PlugModel(config, storedParameters(weights, weights.path, dtype));
}

interface Edits {
  config?: (config: Record<string, unknown>) => void;
  tensors?: (tensors: Map<string, Tensor>) => void;
}

let copies = 0;

/** A copy of the tiny model with its tensors in safetensors. */
function editedPalm({ config: editConfig, tensors: editTensors }: Edits): string {
  const folder = join(parent, `palm-${copies++}`);
  cpSync(palmTiny, folder, { recursive: true });
  rmSync(join(folder, 'pytorch_model.bin'));
  const path = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  editConfig?.(config);
  writeFileSync(path, JSON.stringify(config));
  scope(() => {
    using file = openTorchCheckpoint(join(palmTiny, 'pytorch_model.bin'));
    const tensors = new Map(
      file
        .names()
        .filter((name) => !name.endsWith('.mask'))
        .map((name) => [name, file.tensor(name)]),
    );
    editTensors?.(tensors);
    writeSafetensors(join(folder, 'model.safetensors'), tensors);
  });
  return folder;
}

describe('PALM 2.0', () => {
  for (const [dtype, budget] of [
    ['float32', 3e-5],
    ['float64', 1e-12],
  ] as const)
    it(`computes what the oracle computes, ${dtype}`, (context) => {
      using opened = openPalm(palmTiny);
      using model = modelOf(opened, dtype);
      const errors = errorsOf(model, dtype);
      context.diagnostic(`largest errors: ${errors.map((error) => error.toExponential(1)).join(', ')}`);
      assert.ok(Math.max(...errors) <= budget, `${errors}`);
      const count = [...model.parameters.values()].reduce((sum, { numel }) => sum + numel, 0);
      assert.equal(countParameters(model.config), count);
    });

  it('is read as what it is', () => {
    const live = liveTensorCount();
    {
      using opened = openPalm(palmTiny);
      assert.match(opened.kind, /PALM 2\.0 or ChatPLUG, 2 \+ 2 layers of 16/);
      const { config } = opened;
      assert.deepEqual(
        [
          config.preLn,
          config.layernormEpsilon,
          config.decEmbeddings,
          config.decLayernormEpsilon,
          config.decHiddenAct,
        ],
        [false, 1e-12, 'sinusoidal', 1e-6, 'gelu_new'],
      );
      assert.deepEqual(
        [
          config.numAttentionHeads,
          config.decNumAttentionHeads,
          config.intermediateSize,
          config.decIntermediateSize,
        ],
        [2, 4, 24, 20],
      );
      assert.deepEqual(opened.filesBeside, [join(palmTiny, 'bert', 'vocab.txt')]);
      for (const [index, pattern] of [
        /dropout 0\.2.*0\.1/,
        /masked-LM head.*anew/,
        /sentence relation.*anew/,
      ].entries())
        assert.match(opened.notes[index]!, pattern);
      assert.equal(opened.notes.length, 3);
    }
    assert.equal(liveTensorCount(), live);
  });

  it('becomes a model folder, plain or packed, that computes the same', async () => {
    using opened = openPalm(palmTiny);
    const plain = join(parent, 'plain');
    await writeModelFolder(plain, opened, { dtype: 'float32' });
    using model = loadModel(plain);
    assert.deepEqual(model.config, opened.config);
    assert.ok(Math.max(...errorsOf(model, 'float32')) <= 3e-5);
    using again = openModelFolder(plain);
    assert.deepEqual(contentsOf(again.weights), contentsOf(opened.weights));
    assert.deepEqual([...loadTokenizer(plain).encode('A')], [...loadTokenizer(plain).encode('a')]);

    const packed = join(parent, 'packed');
    await writeModelFolder(packed, opened, { precision: 'bfloat16' });
    using small = loadModel(packed, { precision: 'bfloat16' });
    const live = liveTensorCount();
    const [states, logits] = errorsOf(small, 'float32');
    assert.equal(liveTensorCount(), live + 1); // the sinusoids
    assert.ok(states! < 0.1 && logits! < 0.3 && logits! > 1e-5, `${states}, ${logits}`);

    using encoder = loadModel(plain, { encoderOnly: true });
    assert.ok([...encoder.parameters.keys()].every((name) => !name.startsWith('decoder.')));
  });

  it('is found under other prefixes, and without the tied copy', () => {
    using usual = openPalm(palmTiny);
    const wanted = contentsOf(usual.weights);
    const renamed = (edit: (name: string) => string): string =>
      editedPalm({
        tensors(tensors) {
          for (const [name, tensor] of [...tensors]) {
            tensors.delete(name);
            if (!name.endsWith('generator.dense.weight')) tensors.set(edit(name), tensor);
          }
        },
      });
    for (const edit of [
      (name: string) => name.replace(/^palm\./, ''),
      (name: string) => name.replace(/^palm\./, 'module.'),
      (name: string) =>
        name.replace(/^palm\.bert\./, 'backbone.plug.bert.bert.').replace(/^palm\./, 'backbone.plug.'),
      (name: string) => name.replace(/^palm\.bert\./, 'palm.bert.model.'),
    ]) {
      using opened = openPalm(renamed(edit));
      assert.deepEqual(contentsOf(opened.weights), wanted);
    }
  });

  it('whose encoder is only named takes its sizes from the tensors, heads of 64', () => {
    const folder = editedPalm({
      config: (config) => {
        config.encoder_pth = 'bert-base-chinese';
      },
    });
    assert.throws(
      () => openPalm(folder),
      (error) => error instanceof ConfigError && /hidden size of 16.*heads/.test(error.message),
    );
    renameSync(join(folder, 'bert'), join(folder, 'bert-base-chinese'));
    openPalm(folder)[Symbol.dispose]();
    const outside = editedPalm({
      config: (config) => {
        config.encoder_pth = '../bert-tiny';
      },
    });
    cpSync(bertTiny, join(parent, 'bert-tiny'), { recursive: true });
    assert.throws(() => openPalm(outside), ConfigError); // a path out of the folder is not followed
  });

  it('is not written where only PLUG has a place; its encoder is, as BERT', async () => {
    using opened = openPalm(palmTiny);
    const { weights, config } = opened;
    const out = join(parent, 'refused');
    const isRefusal = (error: unknown): boolean =>
      error instanceof ConfigError &&
      /decoder is not PLUG's \("dec_embeddings", "dec_hidden_act".*no place/.test(error.message);
    await assert.rejects(splitToShards(weights, config, 1, out), isRefusal);
    assert.equal(existsSync(out), false);
    await exportBert(opened, out);
    using encoder = openBert(out);
    const of = contentsOf(weights);
    for (const [name, content] of contentsOf(encoder.weights)) assert.equal(content, of.get(name), name);
  });

  it('is told from BERT and from our own folders by config.json', () => {
    const own = join(parent, 'own');
    mkdirSync(own);
    assert.equal(huggingFaceKind(own), undefined);
    writeFileSync(join(own, 'config.json'), '{"hidden_size": 8, "pre_ln": true}');
    assert.deepEqual([palmTiny, bertTiny, own].map(huggingFaceKind), ['palm', 'bert', undefined]);
  });
});

describe('what is no PALM of ours', () => {
  const refused = (
    folder: string,
    type: typeof ConfigError | typeof CheckpointError,
    pattern: RegExp,
  ): void => {
    const live = liveTensorCount();
    assert.throws(
      () => openPalm(folder),
      (error: Error) =>
        error instanceof type && pattern.test(error.message) && error.message.includes(folder),
      `${folder} should be refused with ${pattern}`,
    );
    assert.equal(liveTensorCount(), live);
  };

  for (const [field, value] of Object.entries({
    encoder: 'roberta',
    dec_layers: 0,
    dec_heads: 3,
    dec_hidden_size: 8,
    dec_ff_size: '20',
    dec_dropout: 1,
  }))
    it(`config.json with ${field} ${JSON.stringify(value)} names the field`, () => {
      const name = field === 'dec_heads' ? 'dec_num_attention_heads' : field;
      refused(
        editedPalm({
          config: (config) => {
            config[field] = value;
          },
        }),
        ConfigError,
        new RegExp(`"${name}"`),
      );
    });

  it('more layers than there are cost nothing', () => {
    refused(
      editedPalm({
        config: (config) => {
          config.dec_layers = 1e9;
        },
      }),
      CheckpointError,
      /too few for the 1000000002 layers/,
    );
    refused(
      editedPalm({
        config: (config) => {
          config.dec_layers = 3;
        },
      }),
      CheckpointError,
      /transformer_layers\.2\..*missing/,
    );
    refused(
      editedPalm({
        config: (config) => {
          config.dec_layers = 1;
        },
      }),
      CheckpointError,
      /transformer_layers\.1\..* belongs to no part/,
    );
  });

  const layer = 'palm.decoder.transformer_layers.1';
  for (const [what, tensors, pattern] of [
    [
      'a missing tensor',
      (map) => map.delete(`${layer}.context_attn.linear_keys.bias`),
      /context_attn\.linear_keys\.bias".*\[16\].*missing/,
    ],
    [
      'a misshapen tensor',
      (map) => map.set(`${layer}.feed_forward.w_2.weight`, zeros([20, 16])),
      /w_2\.weight" has shape \[20,16\], expected \[16,20\]/,
    ],
    [
      'an unknown tensor',
      (map) => map.set('palm.decoder.other', zeros([1])),
      /palm\.decoder\.other" belongs to no part/,
    ],
    [
      'an output embedding of its own',
      (map) => map.set('palm.generator.dense.weight', zeros([49, 16])),
      /generator\.dense\.weight" differs/,
    ],
    [
      'no decoder',
      (map) => map.delete('palm.decoder.transformer_layers.0.layer_norm_1.weight'),
      /holds no PALM/,
    ],
  ] as [string, (map: Map<string, Tensor>) => void, RegExp][])
    it(`${what} is named`, () => refused(editedPalm({ tensors }), CheckpointError, pattern));
});
