// How training speed follows size: one dimension at a time from a middle shape, hidden size, text length, batch. Ours by
// itself as a share of the matrix-product rate, and against plain PyTorch where that takes no minutes.
import { buildInfo } from '@openplug/torch';
import { type BenchOptions, progress, report, selected } from '../harness/harness.js';
import { plugConfig } from '../openplug.js';
import { computeDTypes, type Shape, usualDType } from '../shapes.js';
import { compareTraining, foundOpponents, type TrainResult } from './compare.js';

const defaultRounds = 3;
const headSize = 64;
/** Tokens of a batch, both sides, above which PyTorch is left out. */
const mostComparedTokens = 4096;

interface Size {
  hidden: number;
  /** Tokens of source and target, each. */
  length: number;
  batch: number;
}

const middle: Size = { hidden: 512, length: 256, batch: 4 };
const tiny: Size = { hidden: 64, length: 16, batch: 2 };

function sizes(shape: string | undefined): readonly [string, Size][] {
  if (shape === 'trial')
    return [
      ['hidden', tiny],
      ['length', { ...tiny, length: 32 }],
    ];
  return [
    ...[256, 512, 1024, 2048].map((hidden): [string, Size] => ['hidden', { ...middle, hidden }]),
    // The tokens of a batch stay the same, so that only attention grows.
    ...[128, 256, 512, 1024, 2048].map((length): [string, Size] => [
      'length',
      { ...middle, length, batch: 2048 / length },
    ]),
    ...[1, 2, 8, 32].map((batch): [string, Size] => ['batch', { ...middle, batch }]),
  ];
}

/** Four encoder layers and one decoder layer, as deep as is needed for a layer's cost to show. */
function shapeOf({ hidden, length, batch }: Size): Shape {
  return {
    config: plugConfig({
      vocabSize: 8192,
      originalVocabSize: 8192,
      hiddenSize: hidden,
      numAttentionHeads: Math.max(1, hidden / headSize),
      numHiddenLayers: 4,
      decHiddenLayers: 1,
      maxPositionEmbeddings: length,
      initializerRange: 1 / Math.sqrt(hidden),
    }),
    batch,
    sourceLength: length,
    targetLength: length,
    promptLength: length,
    newTokens: 1,
    stepsPerTurn: 1,
  };
}

/** Training tokens/s over sizes; dropout 0.1; bf16 where it is multiplied in hardware, else fp32. */
export async function benchScaling(options: BenchOptions): Promise<void> {
  const dtype = selected('dtype', computeDTypes, options.dtype, [usualDType()])[0]!;
  const dropout = selected('dropout', ['0.1', '0'], options.dropout, ['0.1'])[0]!;
  const rounds = options.rounds ?? defaultRounds;
  const opponents = foundOpponents(['plain']);
  const results: (Size & { varied: string; result: TrainResult })[] = [];
  for (const [varied, size] of sizes(options.shape)) {
    const name = `hidden ${size.hidden}, length ${size.length}, batch ${size.batch}`;
    progress(`scaling, ${name}: ${rounds} rounds`);
    const isComparable = 2 * size.batch * size.length <= mostComparedTokens && size.hidden <= 1024;
    const found = isComparable ? opponents : new Map();
    const result = await compareTraining({ shape: name, dtype, dropout }, shapeOf(size), rounds, found);
    results.push({ varied, ...size, result });
  }
  const rows = results.map(({ varied, hidden, length, batch, result: { openplug, peers } }) => [
    varied,
    `${hidden}`,
    `${length}`,
    `${batch}`,
    openplug.tokensPerSecond.median.toFixed(0),
    `${(100 * openplug.shareOfGemm).toFixed(0)} %`,
    peers.plain ? `×${peers.plain.ratio.median.toFixed(2)}` : '–',
  ]);
  const header = ['varied', 'hidden', 'length', 'batch', 'tokens/s', 'of GEMM', 'against plain PyTorch'];
  report(options, [header, ...rows], {
    bench: 'scaling',
    rounds,
    dtype,
    dropout,
    torchVersion: buildInfo().torchVersion,
    results,
  });
}
