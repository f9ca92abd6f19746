// What ONNX Runtime computes from an export, against the reference folder and our own forward pass.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type DType, noGrad, openSafetensors, scope, tensor, writeSafetensors } from '@openplug/torch';
import { generate } from '../../generate/index.js';
import type { PlugConfig } from '../../model/index.js';
import {
  assertClose,
  modelVariants,
  outputsOf,
  randomText,
  smallConfig,
  smallModel,
  type TextPair,
} from '../../model/small-models.test-support.js';
import { readReference } from '../../parity/reference.js';
import { SPECIAL_TOKENS, tokenizerFromVocabulary } from '../../text/index.js';
import { openModelFolder } from '../open-model.js';
import type { OpenedModel } from '../tensor-source.js';
import { type ExportOnnxOptions, exportOnnx } from './index.js';
import {
  ExportedModel,
  notNumbers,
  opened,
  padded,
  type RuntimeTensor,
  runtimeFolder,
  withoutRuntime,
} from './onnx.test-support.js';

const reference = fileURLToPath(new URL('../../../test-data/plug-tiny', import.meta.url));
const parent = mkdtempSync(join(tmpdir(), 'plug-onnx-'));
after(() => rmSync(parent, { recursive: true }));
/** Of fp32 logits, as in the parity check. */
const budget = 3e-5;

let numExports = 0;
async function exported(model: OpenedModel, options?: ExportOnnxOptions): Promise<ExportedModel> {
  const folder = join(parent, `export-${numExports++}`);
  await exportOnnx(model, folder, options);
  return ExportedModel.open(folder, model.config);
}

const numbers = (value: RuntimeTensor): Float32Array => value.data as Float32Array;

/** Elements of the rows' own tokens, [B, longest, width] → by row. */
function unpadded(value: RuntimeTensor, lengths: readonly number[]): Float32Array[] {
  const [, longest, width] = value.dims as [number, number, number];
  return lengths.map((length, row) =>
    numbers(value).subarray(row * longest * width, (row * longest + length) * width),
  );
}

/** Largest |got − wanted| over those of the rows (all by default) of `width` elements. */
function largestError(
  got: ArrayLike<number>,
  wanted: ArrayLike<number>,
  width: number,
  rows?: readonly number[],
): number {
  assert.equal(got.length, wanted.length);
  const errors = (rows ?? Array.from({ length: wanted.length / width }, (_, row) => row)).flatMap((row) =>
    Array.from({ length: width }, (_, at) => Math.abs(got[row * width + at]! - wanted[row * width + at]!)),
  );
  assert.ok(errors.length > 0 && errors.every(Number.isFinite));
  return Math.max(...errors);
}

/** Ids of the greedy continuation of each row, begun by 101, one step with the cache for each. */
async function greedy(
  model: ExportedModel,
  { originalVocabSize, vocabSize }: PlugConfig,
  sources: number[][],
  types: number[][],
  newTokens: number,
): Promise<number[][]> {
  const { ids, mask } = padded(sources);
  const encoded = (await model.encode(ids, mask, padded(types).ids)).last_hidden_state!;
  const texts = sources.map(() => [101]);
  let past = model.noPast(sources.length);
  for (let step = 0; step < newTokens; step++) {
    const last = texts.map((text) => [text.at(-1)!]);
    const results = await model.decode(last, encoded, mask, past);
    const logits = numbers(results.logits!);
    for (const [row, text] of texts.entries()) {
      const real = logits.subarray(row * vocabSize, row * vocabSize + originalVocabSize);
      text.push(real.indexOf(Math.max(...real)));
    }
    past = model.pastOf(results);
  }
  return texts;
}

describe('an export of the reference model', { skip: withoutRuntime }, () => {
  const expected = readReference(reference);
  const rowsOf = (name: string): number[][] => {
    const file = openSafetensors(join(reference, 'expected.safetensors'));
    const [numRows, length] = file.info(name).shape as [number, number];
    const flat = Array.from(expected.values(name));
    return Array.from({ length: numRows }, (_, row) => flat.slice(row * length, (row + 1) * length));
  };
  const [ids, types, mask] = ['input_ids', 'token_type_ids', 'attention_mask'].map(rowsOf) as [
    number[][],
    number[][],
    number[][],
  ];

  for (const variant of ['final_norm_once', 'final_norm_twice'] as const)
    it(`computes its logits and greedy ids, ${variant}`, async () => {
      using stored = openModelFolder(reference);
      const config = { ...stored.config, doubleFinalNorm: variant === 'final_norm_twice' };
      const model = await exported({ ...stored, config });
      const off = (value: RuntimeTensor, name: string, rows?: readonly number[]): number =>
        largestError(numbers(value), expected.values(`${variant}.${name}`), value.dims.at(-1)!, rows);

      const { last_hidden_state: encoded, sentence_logits: sentence } = await model.encode(ids, mask, types);
      assert.ok(off(encoded!, 'encoder_output') <= budget);
      assert.ok(off(sentence!, 'sentence_logits') <= budget);
      assert.ok(off(await model.maskedLm(encoded!), 'mlm_logits') <= budget);
      // Target rows past a text's real length are padding.
      const { logits } = await model.decode(rowsOf('decoder_input_ids'), encoded!, mask, model.noPast(3));
      assert.ok(off(logits!, 'lm_logits', expected.lm.index) <= budget);

      const sources = ids.map((row, index) => row.slice(0, expected.visible[index]));
      const kinds = types.map((row, index) => row.slice(0, expected.visible[index]));
      const { greedy_ids: wanted } = expected.expected[variant];
      assert.deepEqual(await greedy(model, config, sources, kinds, 20), wanted, 'in one padded batch');
      for (const [row, text] of sources.entries())
        assert.deepEqual(await greedy(model, config, [text], [kinds[row]!], 20), [wanted[row]], 'alone');
      await model.close();
    });
});

describe('an export of any model', { skip: withoutRuntime }, () => {
  const pairs: TextPair[] = [3, 11, 6].map((length) => ({
    source: randomText(length, length),
    types: Array.from({ length }, (_, at) => at % 3),
    target: randomText(length + 20, 7),
  }));
  const lengths = pairs.map((pair) => pair.source.length);
  const { ids, mask } = padded(pairs.map((pair) => pair.source));
  const types = padded(pairs.map((pair) => pair.types)).ids;
  const targets = pairs.map((pair) => pair.target);

  const variants = [...modelVariants, { maskPaddingVocab: true }, { decHiddenLayers: 0 }];
  for (const changes of variants)
    it(`equals our forward pass on texts of different lengths, ${JSON.stringify(changes)}`, async () => {
      const config = { ...smallConfig, ...changes };
      const hasDecoder = config.decHiddenLayers > 0;
      using model = smallModel(changes, { dtype: 'float32' });
      // Parameters are drawn by name: the encoder is the same with and without a decoder.
      using whole = smallModel({ ...changes, decHiddenLayers: 2 }, { dtype: 'float32' });
      const wanted = outputsOf(whole, pairs, 'float32');
      const runs = await exported(opened(model));
      const { last_hidden_state: encoded, sentence_logits: sentence } = await runs.encode(ids, mask, types);
      const mlm = await runs.maskedLm(encoded!);
      const mlmRows = { data: mlm.data, dims: [3, ids[0]!.length, config.vocabSize] };
      const compare = (got: Float32Array[], rows: number[][], what: string): void => {
        for (const [row, values] of rows.entries())
          assertClose(finite(got[row]!), finite(values), budget, `${what} of row ${row}`);
      };
      compare(unpadded(encoded!, lengths), wanted.encoded, 'encoder output');
      compare(
        unpadded({ data: sentence!.data, dims: [3, 1, 3] }, [1, 1, 1]),
        wanted.sentence,
        'sentence logits',
      );
      compare(unpadded(mlmRows, lengths), wanted.mlm, 'masked-LM logits');
      if (hasDecoder) {
        const { logits } = await runs.decode(targets, encoded!, mask, runs.noPast(3));
        compare(unpadded(logits!, [7, 7, 7]), wanted.lm, 'LM logits');
      }
      await runs.close();
    });

  it('decodes in steps of any length what it decodes at once, and looks at the source once', async () => {
    using model = smallModel({}, { dtype: 'float32' });
    const runs = await exported(opened(model));
    const { last_hidden_state: encoded } = await runs.encode(ids, mask, types);
    const whole = await runs.decode(targets, encoded!, mask, runs.noPast(3));
    const wanted = unpadded(whole.logits!, [7, 7, 7]);
    const unread = notNumbers(encoded!.dims);
    for (const ignored of [0, 1, 5]) {
      // A first step ignores whatever past it is given: here of not-a-number.
      let past = runs.noPast(3, ignored);
      let done = 0;
      for (const count of [1, 4, 1, 1]) {
        const part = targets.map((target) => target.slice(done, done + count));
        const states = done === 0 ? encoded! : unread;
        const results = await runs.decode(part, states, mask, past);
        for (const [row, values] of unpadded(results.logits!, [count, count, count]).entries()) {
          const { vocabSize: width } = smallConfig;
          assertClose(
            values,
            wanted[row]!.subarray(done * width, (done + count) * width),
            1e-5,
            `row ${row}`,
          );
        }
        done += count;
        past = runs.pastOf(results);
      }
      for (const [name, value] of Object.entries(past))
        if (name !== 'use_cache_branch')
          assertClose(
            numbers(value),
            numbers(whole[name.replace('past_key_values', 'present')]!),
            1e-5,
            name,
          );
    }
    await runs.close();
  });

  it('runs from weights in a file of their own, and from half precision', async () => {
    using model = smallModel({}, { dtype: 'float32' });
    const results = async (runs: ExportedModel): Promise<Float32Array> => {
      const { last_hidden_state: encoded } = await runs.encode(ids, mask, types);
      const { logits } = await runs.decode(targets, encoded!, mask, runs.noPast(3));
      await runs.close();
      return numbers(logits!);
    };
    const embedded = await results(await exported(opened(model)));
    const external = await results(await exported(opened(model), { maxEmbeddedBytes: 0 }));
    assert.deepEqual(external, embedded);
    const inDType = (dtype: DType): OpenedModel =>
      opened(model, { convert: (weight) => scope(() => weight.detach().to('float16').to(dtype)) });
    const half = await results(await exported(inDType('float16')));
    assert.deepEqual(half, await results(await exported(inDType('float32'))));
    assert.notDeepEqual(half, embedded);
  });

  it('gives the labels of a fine-tuned classifier', async () => {
    using model = smallModel({ decHiddenLayers: 0 }, { dtype: 'float32' });
    const config = model.config;
    const weight = Array.from({ length: 4 * config.hiddenSize }, (_, at) => Math.sin(at));
    const bias = [1, -2, 3, 0.5];
    using weightTensor = tensor(weight, { shape: [4, config.hiddenSize] });
    using biasTensor = tensor(bias);
    const head = new Map([
      ['classifier.weight', weightTensor],
      ['classifier.bias', biasTensor],
    ]);
    const path = join(parent, 'classifier.safetensors');
    writeSafetensors(path, head);
    const runs = await exported(opened(model, { filesBeside: [path] }));
    const { last_hidden_state: encoded, logits } = await runs.encode(ids, mask, types);
    const wanted = unpadded(encoded!, [1, 1, 1]).flatMap((first) =>
      bias.map((start, label) =>
        first.reduce((sum, x, at) => sum + x * weight[label * config.hiddenSize + at]!, start),
      ),
    );
    assert.deepEqual(logits!.dims, [3, 4]);
    assertClose(numbers(logits!), wanted, budget, 'logits');
    await runs.close();
  });

  it('writes with the program of docs/onnx.md what generation writes', async () => {
    using model = smallModel({ originalVocabSize: 40 }, { dtype: 'float32' });
    // Positions that outweigh words make a text that moves; else the tied embedding repeats one word for ever.
    noGrad(() => model.parameters.get('bert.embeddings.position_embeddings.weight')!.mul_(8));
    const folder = join(parent, 'example');
    const characters = Array.from({ length: 35 }, (_, at) => String.fromCodePoint(0x4e00 + at));
    const tokenizer = tokenizerFromVocabulary([...Object.values(SPECIAL_TOKENS), ...characters]);
    tokenizer.save(parent);
    await exportOnnx(opened(model, { filesBeside: [join(parent, 'vocab.txt')] }), folder);
    const prompt = characters.slice(3, 9).join('');
    const { texts } = await generate(model, tokenizer, prompt, { temperature: 0, maxLength: 20 });
    assert.ok(new Set(texts[0]!.tokenIds).size > 2, texts[0]!.text);

    const guide = readFileSync(new URL('../../../../../docs/onnx.md', import.meta.url), 'utf8');
    const program = guide.match(/```js\n(.*?)```/s)![1]!.replace('<= 32', '<= 20');
    writeFileSync(join(parent, 'write.mjs'), program);
    mkdirSync(join(parent, 'node_modules'));
    symlinkSync(runtimeFolder, join(parent, 'node_modules', 'onnxruntime-node'));
    const openplug = fileURLToPath(new URL('../../..', import.meta.url));
    symlinkSync(openplug, join(parent, 'node_modules', 'openplug'));
    const run = spawnSync(process.execPath, [join(parent, 'write.mjs'), folder, prompt], {
      encoding: 'utf8',
    });
    assert.equal(run.stderr, '');
    assert.equal(run.stdout.trimEnd(), texts[0]!.text);
  });

  /** −∞ of the padding vocabulary as a number that can be compared. */
  const finite = (values: ArrayLike<number>): number[] =>
    Array.from(values, (value) => (value === Number.NEGATIVE_INFINITY ? -1e9 : value));
});
