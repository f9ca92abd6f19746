// The files of an export, read back as protobuf: a well-formed graph of standard operators, the weights' bytes, and
// what happens when an export cannot be made. That it computes the right numbers is shown in onnx-runtime.test.ts.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, describe, it } from 'node:test';
import { liveTensorCount, type Tensor, writeSafetensors, zeros } from '@openplug/torch';
import { CheckpointError, ConfigError } from '../../errors.js';
import type { PlugModel } from '../../model/index.js';
import { smallConfig, smallModel } from '../../model/small-models.test-support.js';
import { readModelConfig } from '../model-folder.js';
import { type ExportOnnxOptions, exportOnnx } from './index.js';
import { decodeModel, type GraphProto, type ModelProto, type TensorProto } from './messages.js';
import { opened } from './onnx.test-support.js';

const parent = mkdtempSync(join(tmpdir(), 'plug-export-'));
after(() => rmSync(parent, { recursive: true }));
const folder = join(parent, 'export');
beforeEach(() => rmSync(folder, { recursive: true, force: true }));

const names = ['decoder_model_merged.onnx', 'encoder_model.onnx', 'masked_lm_head.onnx'];
const readModel = (name: string): ModelProto => decodeModel(readFileSync(join(folder, name)));
const words = 'bert.embeddings.word_embeddings.weight';

/** Asserts that every value is made before it is used, and only once; returns the operators that were met. */
function checkOrder(graph: GraphProto, outside: ReadonlySet<string>, operators: Set<string>): void {
  const known = new Set(outside);
  const define = (name: string): void => {
    assert.ok(!known.has(name), `${name} is defined twice`);
    known.add(name);
  };
  for (const { name } of [...graph.input, ...graph.initializer]) define(name);
  for (const node of graph.node) {
    for (const name of node.input)
      assert.ok(known.has(name), `${node.opType} uses ${name} before it is made`);
    for (const { g: subgraph } of node.attribute) if (subgraph) checkOrder(subgraph, known, operators);
    node.output.forEach(define);
    operators.add(node.opType);
  }
  for (const { name } of graph.output) assert.ok(known.has(name), `the output ${name} is not made`);
}

function elements({ rawData }: TensorProto): Float32Array {
  return new Float32Array(Uint8Array.from(rawData!).buffer);
}

/** A parameter's elements as the file should hold them. */
function stored(model: PlugModel, name: string): Float32Array {
  using parameter = model.parameters.get(name.replace(/\.transposed$/, ''))!.detach();
  if (!name.endsWith('.transposed')) return parameter.toTypedArray() as Float32Array;
  using transposed = parameter.transpose(0, 1);
  using whole = transposed.contiguous();
  return whole.toTypedArray() as Float32Array;
}

describe('the files of an export', () => {
  it('hold graphs in order, of standard operators, with the names that others use', async () => {
    using model = smallModel({}, { dtype: 'float32' });
    const files = await exportOnnx(opened(model), folder);
    assert.deepEqual(readdirSync(folder).sort(), ['config.json', ...names]);
    assert.deepEqual(files.map((file) => file.name).sort(), names);
    assert.deepEqual(readModelConfig(folder), smallConfig);
    const operators = new Set<string>();
    for (const name of names) {
      const { irVersion, opsetImport, graph } = readModel(name);
      assert.equal(irVersion, 9);
      assert.deepEqual(opsetImport, [{ domain: '', version: 20 }]);
      checkOrder(graph!, new Set(), operators);
    }
    assert.deepEqual(
      [...operators].sort().join(' '),
      'Add Cast Concat Gather Gelu Gemm Identity If LayerNormalization LessOrEqual MatMul Mul Range Reshape Shape ' +
        'Slice Softmax Split Squeeze Sub Transpose Unsqueeze Where',
    );
    const sides = (name: string): string[][] => {
      const { input, output } = readModel(name).graph!;
      return [input, output].map((side) =>
        side.map(({ name: value, type }) => {
          const sizes = type.tensorType.shape.dim.map((dim) =>
            'dimParam' in dim ? dim.dimParam : dim.dimValue,
          );
          return `${value} [${sizes.join(', ')}]`;
        }),
      );
    };
    assert.deepEqual(sides('encoder_model.onnx'), [
      ['input_ids [batch, source]', 'attention_mask [batch, source]', 'token_type_ids [batch, source]'],
      ['last_hidden_state [batch, source, 16]', 'sentence_logits [batch, 3]'],
    ]);
    const [inputs, outputs] = sides('decoder_model_merged.onnx') as [string[], string[]];
    assert.deepEqual(inputs.slice(0, 6), [
      'input_ids [batch, target]',
      'encoder_attention_mask [batch, source]',
      'encoder_hidden_states [batch, source, 16]',
      'use_cache_branch [1]',
      'past_key_values.0.decoder.key [batch, 4, past, 4]',
      'past_key_values.0.decoder.value [batch, 4, past, 4]',
    ]);
    assert.equal(inputs.length, 4 + 2 * 4);
    assert.equal(outputs.length, 1 + 2 * 4);
    assert.deepEqual(outputs.slice(0, 2), [
      'logits [batch, target, 40]',
      'present.0.decoder.key [batch, 4, total, 4]',
    ]);
  });

  it('hold every parameter but the pooler, bit for bit, in the file or beside it', async () => {
    using model = smallModel({}, { dtype: 'float32' });
    const inFile = new Map<string, Map<string, Float32Array>>();
    const met = new Set<string>();
    await exportOnnx(opened(model), folder, { maxEmbeddedBytes: 1_000_000 });
    for (const name of names) {
      const weights = readModel(name).graph!.initializer.filter((tensor) =>
        model.parameters.has(tensor.name.replace(/\.transposed$/, '')),
      );
      for (const weight of weights) {
        met.add(weight.name.replace(/\.transposed$/, ''));
        assert.deepEqual(elements(weight), stored(model, weight.name), weight.name);
      }
      inFile.set(name, new Map(weights.map((weight) => [weight.name, elements(weight)])));
    }
    const left = [...model.parameters.keys()].filter((name) => !met.has(name));
    assert.deepEqual(left, ['bert.pooler.dense.weight', 'bert.pooler.dense.bias']);

    rmSync(folder, { recursive: true });
    await exportOnnx(opened(model), folder, { maxEmbeddedBytes: 0 });
    for (const name of names) {
      const data = readFileSync(join(folder, `${name}_data`));
      let end = 0;
      for (const tensor of readModel(name).graph!.initializer) {
        if (!tensor.externalData?.length) continue;
        const { location, offset, length } = Object.fromEntries(
          tensor.externalData.map(({ key, value }) => [key, value]),
        );
        assert.equal(tensor.dataLocation, 1);
        assert.equal(location, `${name}_data`);
        assert.equal(Number(offset) % 4096, 0, 'can be mapped');
        assert.ok(Number(offset) >= end);
        end = Number(offset) + Number(length);
        const bytes = Uint8Array.from(data.subarray(Number(offset), end));
        assert.deepEqual(new Float32Array(bytes.buffer), inFile.get(name)!.get(tensor.name), tensor.name);
        inFile.get(name)!.delete(tensor.name);
      }
      assert.equal(data.length, end);
      assert.equal(inFile.get(name)!.size, 0);
    }
  });

  it('report progress up to the end and leave no tensor behind', async () => {
    using model = smallModel({}, { dtype: 'float32' });
    const before = liveTensorCount();
    const seen: number[][] = [];
    const vocabulary = join(parent, 'vocab.txt');
    writeFileSync(vocabulary, '[PAD]\n');
    const files = await exportOnnx(opened(model, { filesBeside: [vocabulary] }), folder, {
      onProgress: (...progress) => seen.push(progress),
    });
    assert.equal(liveTensorCount(), before);
    assert.ok(seen.every(([written], index) => written! > (seen[index - 1]?.[0] ?? 0)));
    const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
    assert.deepEqual(seen.at(-1), [total, total]);
    for (const { name, bytes } of files) assert.equal(readFileSync(join(folder, name)).length, bytes);
    assert.equal(readFileSync(join(folder, 'vocab.txt'), 'utf8'), '[PAD]\n');
  });

  it('are an encoder and a masked-LM head when there is no decoder', async () => {
    using model = smallModel({ decHiddenLayers: 0 }, { dtype: 'float32' });
    const files = await exportOnnx(opened(model), folder);
    assert.deepEqual(files.map((file) => file.name).sort(), names.slice(1));
  });
});

describe('an export that cannot be made', () => {
  interface Refused {
    /** Replaces or, where undefined, removes a parameter. */
    change?: readonly [name: string, tensor: Tensor | undefined];
    filesBeside?: readonly string[];
    options?: ExportOnnxOptions;
    type?: typeof CheckpointError | typeof ConfigError;
  }

  async function refused(pattern: RegExp, given: Refused): Promise<void> {
    const { change, filesBeside = [], options = {}, type = CheckpointError } = given;
    using model = smallModel({}, { dtype: 'float32' });
    const parameters = new Map(model.parameters);
    if (change?.[1]) parameters.set(change[0], change[1]);
    else if (change) parameters.delete(change[0]);
    const source = opened({ config: smallConfig, parameters }, { filesBeside });
    await assert.rejects(exportOnnx(source, folder, options), (error: Error) => {
      assert.ok(error instanceof type, `${error}`);
      assert.match(error.message, pattern);
      return true;
    });
    assert.deepEqual(
      readdirSync(parent).filter((name) => name.startsWith('export')),
      [],
      'nothing was written',
    );
  }

  it('names the tensor that is missing, misshapen or quantised, before it writes', async () => {
    const bias = 'decoder.decoder.final_layernorm.bias';
    await refused(/in memory: tensor "decoder.decoder.final_layernorm.bias" \(shape \[16\]\) is missing/, {
      change: [bias, undefined],
    });
    using small = zeros([39, 16]);
    await refused(/word_embeddings.weight" has shape \[39,16\], expected \[40,16\]/, {
      change: [words, small],
    });
    using bytes = zeros([40, 16], 'int8');
    await refused(/holds int8, expected a floating-point/, { change: [words, bytes] });
    using narrow = zeros([4, 15]);
    const classifier = join(parent, 'classifier.safetensors');
    writeSafetensors(classifier, new Map([['classifier.weight', narrow]]));
    await refused(
      /classifier.safetensors: tensor "classifier.weight" has shape \[4,15\], expected \[4,16\]/,
      {
        filesBeside: [classifier],
      },
    );
    await refused(/maxEmbeddedBytes is 3000000000, expected 0 to/, {
      options: { maxEmbeddedBytes: 3e9 },
      type: ConfigError,
    });
  });

  it('ends with the signal’s reason and leaves nothing', async () => {
    using model = smallModel({}, { dtype: 'float32' });
    const stop = new AbortController();
    const reason = new Error('enough');
    let calls = 0;
    const onProgress = (): void => {
      if (++calls === 100) stop.abort(reason);
    };
    const live = liveTensorCount();
    const source = opened(model);
    await assert.rejects(exportOnnx(source, folder, { signal: stop.signal, onProgress }), reason);
    assert.equal(calls, 100);
    assert.equal(liveTensorCount(), live);
    assert.deepEqual(
      readdirSync(parent).filter((name) => name.startsWith('export')),
      [],
    );
  });

  it('does not touch a folder with something in it', async () => {
    using model = smallModel({}, { dtype: 'float32' });
    await exportOnnx(opened(model), folder);
    const before = readFileSync(join(folder, names[0]!));
    using other = smallModel({}, { dtype: 'float32', seed: 2 });
    await assert.rejects(exportOnnx(opened(other), folder), /export is not empty/);
    assert.ok(readFileSync(join(folder, names[0]!)).equals(before));
  });
});
