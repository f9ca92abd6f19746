// Small random models and texts for the property tests. Weights are far larger than those of a new model, so that
// every part of the network moves the result and a mistake in it shows.
import assert from 'node:assert/strict';
import { type DType, type nn, noGrad, scope, type Tensor } from '@openplug/torch';
import fc from 'fast-check';
import { keyedRandom } from '../random.js';
import {
  type ForwardOptions,
  indexTensor,
  lmLoss,
  mlmLoss,
  newParameters,
  type ParameterSource,
  type PlugConfig,
  PlugModel,
  packedLayers,
  packTexts,
  plugConfig,
  sentenceLoss,
  type TextBatch,
  textBatch,
} from './index.js';

/** Weights normal(0, 0.25), LayerNorm weights around 1, biases around 0. */
export function randomParameters(seed: number, dtype: DType): ParameterSource {
  const drawn = newParameters(seed, dtype);
  return {
    get(name, shape, initializer) {
      const parameter = drawn.get(name, shape, { std: 0.25 });
      return initializer === 'ones' ? noGrad(() => parameter.add_(1)) : parameter;
    },
  };
}

export const smallConfig: PlugConfig = plugConfig({
  vocabSize: 40,
  originalVocabSize: 33,
  hiddenSize: 16,
  numAttentionHeads: 4,
  intermediateSize: 24,
  numHiddenLayers: 2,
  decHiddenLayers: 2,
  maxPositionEmbeddings: 24,
});

interface SmallModelOptions {
  seed?: number;
  dtype?: DType;
  precision?: nn.Precision;
}

export function smallModel(
  changes: Partial<PlugConfig> = {},
  { seed = 1, dtype = 'float64', precision }: SmallModelOptions = {},
): PlugModel {
  return new PlugModel(
    { ...smallConfig, ...changes },
    randomParameters(seed, dtype),
    precision && packedLayers(precision),
  );
}

/** A decoder as PALM 2.0 has it. */
export const palmDecoder: Partial<PlugConfig> = {
  preLn: false,
  decEmbeddings: 'sinusoidal',
  decNumAttentionHeads: 2,
  decIntermediateSize: 20,
  decLayernormEpsilon: 1e-6,
  decHiddenAct: 'gelu_new',
};

/** The kinds of model that share the code: both norm orders, encoder normalised once or twice, both decoders. */
export const modelVariants: readonly Partial<PlugConfig>[] = [
  { preLn: true },
  { preLn: false },
  { preLn: true, doubleFinalNorm: true },
  palmDecoder,
];

/** Ids of the real vocabulary. */
export function randomText(seed: number, length: number): number[] {
  const random = keyedRandom(seed, length);
  return Array.from({ length }, () => random.integer(0, smallConfig.originalVocabSize - 1));
}

export interface TextPair {
  source: number[];
  types: number[];
  target: number[];
}

const ids = fc.integer({ min: 0, max: smallConfig.originalVocabSize - 1 });

/** A source with token types and a target. */
export const textPair: fc.Arbitrary<TextPair> = fc
  .record({
    source: fc.array(fc.tuple(ids, fc.integer({ min: 0, max: 2 })), { minLength: 1, maxLength: 12 }),
    target: fc.array(ids, { minLength: 1, maxLength: 9 }),
  })
  .map(({ source, target }) => ({
    source: source.map(([id]) => id),
    types: source.map(([, type]) => type),
    target,
  }));

export function sourceBatch(pairs: readonly TextPair[], visible?: Int32Array): TextBatch {
  return textBatch(
    packTexts(
      pairs.map((pair) => pair.source),
      pairs.map((pair) => pair.types),
    ),
    visible,
  );
}

export function targetBatch(pairs: readonly TextPair[]): TextBatch {
  return textBatch(packTexts(pairs.map((pair) => pair.target)));
}

/** All that the model computes for a batch, row by row. */
export interface Outputs {
  encoded: number[][];
  mlm: number[][];
  sentence: number[][];
  decoded: number[][];
  lm: number[][];
}

/** Runs encoder, heads and decoder in inference; `visible` as in `textBatch`. */
export function outputsOf(
  model: PlugModel,
  pairs: readonly TextPair[],
  computeDType: DType,
  visible?: Int32Array,
): Outputs {
  const options = { computeDType };
  return noGrad(() =>
    scope(() => {
      const source = sourceBatch(pairs, visible);
      const target = targetBatch(pairs);
      const encoded = model.encode(source, options);
      const decoded = model.decode(target, encoded, source.layout, options);
      const sources = pairs.map((pair) => pair.source.length);
      const targets = pairs.map((pair) => pair.target.length);
      const ones = pairs.map(() => 1);
      return {
        encoded: byRow(encoded, sources),
        mlm: byRow(model.mlmLogits(encoded, options), sources),
        sentence: byRow(model.sentenceLogits(encoded, source.layout), ones),
        decoded: byRow(decoded, targets),
        lm: byRow(model.lmLogits(decoded, options), targets),
      };
    }),
  );
}

/** [N, width] as the numbers of each row of the batch. */
export function byRow(packed: Tensor, lengths: readonly number[]): number[][] {
  const values = packed.toArray();
  const width = packed.shape[1]!;
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return values.slice((end - length) * width, end * width);
  });
}

/** Asserts |got − wanted| ≤ tolerance · (1 + |wanted|) everywhere; a tolerance of 0 means the same bits. */
export function assertClose(
  got: ArrayLike<number>,
  wanted: ArrayLike<number>,
  tolerance: number,
  what: string,
): void {
  assert.equal(got.length, wanted.length, `${what}: number of elements`);
  for (let index = 0; index < wanted.length; index++) {
    const error = Math.abs(got[index]! - wanted[index]!);
    assert.ok(
      error <= tolerance * (1 + Math.abs(wanted[index]!)), // false for NaN too
      `${what}: element ${index} is ${got[index]}, expected ${wanted[index]} within ${tolerance}`,
    );
  }
}

/** Asserts that two results agree in every output of every row. */
export function assertSameOutputs(got: Outputs, wanted: Outputs, tolerance: number, what: string): void {
  for (const name of Object.keys(wanted) as (keyof Outputs)[])
    for (const [row, values] of wanted[name].entries())
      assertClose(got[name][row]!, values, tolerance, `${what}: ${name} of row ${row}`);
}

/** One step's inputs: two sources, two targets, three masked-LM labels. */
export interface Sample {
  sources: number[][];
  types: number[][];
  targets: number[][];
  labels: number[];
}

/** A different sample for each seed. */
export function sampleOf(seed: number): Sample {
  const sources = [randomText(seed, 7), randomText(seed + 1, 4)];
  return {
    sources,
    types: sources.map((text) => text.map((_, at) => at % 3)),
    targets: [randomText(seed + 2, 5), randomText(seed + 3, 6)],
    labels: randomText(seed + 4, 3),
  };
}

/** MLM + sentence + LM loss; the last token of the first source is padding. */
export function lossOf(model: PlugModel, sample: Sample, options: ForwardOptions): Tensor {
  const source = textBatch(packTexts(sample.sources, sample.types), Int32Array.of(6, 4));
  const target = textBatch(packTexts(sample.targets));
  const encoded = model.encode(source, options);
  const decoded = model.decode(target, encoded, source.layout, options);
  return mlmLoss(model, encoded, indexTensor([1, 4, 9]), indexTensor(sample.labels), options)
    .add(sentenceLoss(model, encoded, source.layout, indexTensor([2, 0])))
    .add(lmLoss(model, decoded, indexTensor(sample.targets.flat()), options));
}
