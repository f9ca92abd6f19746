// The model shapes that are measured, and batches for them.
import { chooseDType, keyedRandom, type PlugConfig, plugConfig, plugConfigOfSize } from './openplug.js';

/** Ids of [PAD] [UNK] [CLS] [SEP] [MASK]; all above are ordinary entries. */
export const special = { pad: 0, unk: 1, cls: 2, sep: 3, mask: 4 } as const;

export interface Shape {
  config: PlugConfig;
  /** Rows of a training batch, and tokens of each on either side. */
  batch: number;
  sourceLength: number;
  targetLength: number;
  /** Tokens of the prompt and tokens written after it, batch 1. */
  promptLength: number;
  newTokens: number;
  /** Training steps in one turn: long against what a turn costs besides. */
  stepsPerTurn: number;
}

/**
 * Initial weights with which every layer matters: smaller ones leave attention nearly uniform, and a side that lacks
 * a part would pass the check of losses; greedy decoding would hang on rounding.
 */
const initializerRange = (hiddenSize: number): number => 1 / Math.sqrt(hiddenSize);

/**
 * `quickstart` is what `plug quickstart` trains; `reference` a small PLUG; `base` and `large` have 130 and 430 million
 * parameters; `trial` only shows that all works.
 */
export const shapes = {
  quickstart: {
    config: plugConfigOfSize('tiny', 6200, {
      maxPositionEmbeddings: 256,
      initializerRange: initializerRange(256),
    }),
    batch: 16,
    sourceLength: 64,
    targetLength: 64,
    promptLength: 64,
    newTokens: 64,
    stepsPerTurn: 8,
  },
  reference: {
    config: plugConfig({
      vocabSize: 21504,
      originalVocabSize: 21128,
      hiddenSize: 512,
      numAttentionHeads: 8,
      numHiddenLayers: 8,
      decHiddenLayers: 2,
      maxPositionEmbeddings: 512,
      initializerRange: initializerRange(512),
    }),
    batch: 8,
    sourceLength: 256,
    targetLength: 256,
    promptLength: 256,
    newTokens: 128,
    stepsPerTurn: 2,
  },
  base: {
    config: plugConfigOfSize('base', 21128, {
      maxPositionEmbeddings: 512,
      initializerRange: initializerRange(768),
    }),
    batch: 4,
    sourceLength: 256,
    targetLength: 256,
    promptLength: 256,
    newTokens: 128,
    stepsPerTurn: 1,
  },
  large: {
    config: plugConfigOfSize('large', 21128, {
      maxPositionEmbeddings: 512,
      initializerRange: initializerRange(1024),
    }),
    batch: 2,
    sourceLength: 256,
    targetLength: 256,
    promptLength: 256,
    newTokens: 128,
    stepsPerTurn: 1,
  },
  trial: {
    config: plugConfigOfSize('nano', 400, {
      maxPositionEmbeddings: 64,
      initializerRange: initializerRange(64),
    }),
    batch: 2,
    sourceLength: 32,
    targetLength: 32,
    promptLength: 16,
    newTokens: 8,
    stepsPerTurn: 1,
  },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;
export const shapeNames = Object.keys(shapes) as ShapeName[];
export const measuredShapes: readonly ShapeName[] = ['quickstart', 'reference'];
export const computeDTypes = ['bfloat16', 'float32'] as const;
export type ComputeDType = (typeof computeDTypes)[number];
/** The dtype that training takes on this machine when none is named. */
export const usualDType = (): ComputeDType => chooseDType('auto') as ComputeDType;

/** A stage-2 batch of full rows; no row is padded, which favours neither side. */
export interface TrainingBatch {
  /** [CLS] … [SEP], some of it masked [B][S]. */
  sourceIds: number[][];
  /** Masked positions of each row [B][M], and what stood there. */
  labelPositions: number[][];
  labels: number[][];
  /** [CLS] t1 … tn and t1 … tn [SEP], [B][T]. */
  decoderInputIds: number[][];
  targetIds: number[][];
}

/** A batch of uniform random tokens, 15 % of the source masked; a function of the seed alone. */
export function trainingBatch(shape: Shape, seed: number): TrainingBatch {
  const { config, batch, sourceLength, targetLength } = shape;
  const random = keyedRandom(seed);
  const tokens = (length: number): number[] =>
    Array.from({ length }, () => random.integer(special.mask + 1, config.originalVocabSize - 1));
  const result: TrainingBatch = {
    sourceIds: [],
    labelPositions: [],
    labels: [],
    decoderInputIds: [],
    targetIds: [],
  };
  for (let row = 0; row < batch; row++) {
    const source = [special.cls, ...tokens(sourceLength - 2), special.sep];
    const inner = Int32Array.from({ length: sourceLength - 2 }, (_, index) => index + 1);
    random.shuffle(inner);
    const positions = Array.from(inner.subarray(0, Math.round(0.15 * inner.length))).sort((a, b) => a - b);
    result.labels.push(positions.map((position) => source[position]!));
    for (const position of positions) source[position] = special.mask;
    result.sourceIds.push(source);
    result.labelPositions.push(positions);
    const target = tokens(targetLength - 1);
    result.decoderInputIds.push([special.cls, ...target]);
    result.targetIds.push([...target, special.sep]);
  }
  return result;
}
