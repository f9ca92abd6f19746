// Training speed: a step of stage 2 (masked LM + LM, AdamW, clipping) with and without dropout, against the same model
// in plain PyTorch and in compiled PyTorch 2.
import { buildInfo } from '@openplug/torch';
import { type BenchOptions, progress, report, type Spread, selected } from '../harness/harness.js';
import { computeDTypes, measuredShapes, shapeNames, shapes } from '../shapes.js';
import { compareTraining, foundOpponents, type SideResult, type TrainResult } from './compare.js';

const defaultRounds = 5;
const dropouts = ['0.1', '0'] as const;

function rowsOf({ shape, dtype, dropout, openplug, peers }: TrainResult): string[][] {
  const row = (side: SideResult, ratio: Spread | undefined): string[] => [
    shape,
    dtype,
    dropout,
    side.title,
    side.tokensPerSecond.median.toFixed(0),
    `${(100 * side.tokensPerSecond.spread).toFixed(0)} %`,
    (side.flopsPerSecond / 1e9).toFixed(0),
    `${(100 * side.shareOfGemm).toFixed(0)} %`,
    side.loss.toFixed(3),
    ratio ? `×${ratio.median.toFixed(2)}` : '',
  ];
  return [row(openplug, undefined), ...Object.values(peers).map((peer) => row(peer, peer.ratio))];
}

/** Training tokens/s of each shape, dtype and dropout. */
export async function benchTrain(options: BenchOptions): Promise<Record<string, Spread>> {
  const chosen = selected('shape', shapeNames, options.shape, measuredShapes);
  const dtypes = selected('dtype', computeDTypes, options.dtype);
  const rates = selected('dropout', dropouts, options.dropout);
  const rounds = options.rounds ?? defaultRounds;
  const found = foundOpponents();
  const results: TrainResult[] = [];
  for (const shape of chosen)
    for (const dtype of dtypes)
      for (const dropout of rates) {
        progress(`train, ${shape}, ${dtype}, dropout ${dropout}: ${rounds} rounds`);
        results.push(await compareTraining({ shape, dtype, dropout }, shapes[shape], rounds, found));
      }
  const header = [
    'shape',
    'dtype',
    'dropout',
    'side',
    'tokens/s',
    'spread',
    'GFLOP/s',
    'of GEMM',
    'loss',
    'ours is',
  ];
  report(options, [header, ...results.flatMap(rowsOf)], {
    bench: 'train',
    rounds,
    torchVersion: buildInfo().torchVersion,
    results,
  });
  return Object.fromEntries(
    results.flatMap(({ shape, dtype, dropout, peers }) =>
      Object.entries(peers).map(([peer, { ratio }]) => [
        `train ${shape} ${dtype} dropout ${dropout} against ${peer}`,
        ratio,
      ]),
    ),
  );
}
