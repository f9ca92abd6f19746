// Training speed: a step of stage 2 (masked LM + LM, dropout 0.1, AdamW, clipping) against the same model in plain
// PyTorch. Before anything is timed, three steps without dropout must give both sides the same
// losses and gradient norms.
import { buildInfo } from '@openplug/torch';
import { storeCase } from './case.js';
import {
  type BenchOptions,
  checkAgreement,
  pairedRatio,
  progress,
  report,
  type Spread,
  selected,
  spreadOf,
  takeTurns,
} from './harness.js';
import {
  type ComputeDType,
  computeDTypes,
  measuredShapes,
  type Shape,
  type ShapeName,
  shapeNames,
  shapes,
  trainingFlops,
} from './shapes.js';
import { findPythonOrSay, ourSide, type Python, peerSide, type Side } from './side.js';

const defaultRounds = 5;
const checkSteps = 3;
/** Largest relative difference of a loss, and of a gradient's norm. */
const lossTolerance = { bfloat16: 2e-2, float32: 1e-4 } as const satisfies Record<ComputeDType, number>;
const gradientTolerance = { bfloat16: 5e-2, float32: 1e-3 } as const satisfies Record<ComputeDType, number>;

interface SideResult {
  tokensPerSecond: Spread;
  flopsPerSecond: number;
  /** Of the matrix-product rate measured in the same run. */
  shareOfGemm: number;
  /** After all steps, with dropout. */
  loss: number;
}

/** Largest relative differences in the check. */
interface SameWork {
  lossDifference: number;
  gradientNormDifference: number;
}

interface TrainResult {
  shape: ShapeName;
  dtype: ComputeDType;
  gemmFlopsPerSecond: number;
  openplug: SideResult;
  peer?: SideResult;
  /** Our tokens/s over the peer's, round by round. */
  ratio?: Spread;
  sameWork?: SameWork;
}

/** Losses and gradient norms of the first steps. @throws BenchmarkError when the sides differ */
async function checkSameWork(ours: Side, peer: Side, dtype: ComputeDType): Promise<SameWork> {
  const request = { do: 'check', steps: checkSteps };
  const [left, right] = [await ours.ask(request), await peer.ask(request)];
  const difference = (what: string, field: string, tolerance: number): number =>
    checkAgreement(
      `${what} of ${checkSteps} steps in ${dtype}`,
      left[field] as number[],
      right[field] as number[],
      tolerance,
    );
  return {
    lossDifference: difference('Losses (masked LM, LM)', 'losses', lossTolerance[dtype]),
    gradientNormDifference: difference('Gradient norms', 'gradientNorms', gradientTolerance[dtype]),
  };
}

async function measure(
  name: ShapeName,
  dtype: ComputeDType,
  rounds: number,
  python: Python | undefined,
): Promise<TrainResult> {
  const shape: Shape = shapes[name];
  using stored = storeCase(shape, dtype);
  await using ours = ourSide('train-side.js', stored.path);
  await using peer = python && peerSide(python, 'train_pytorch.py', stored.path);
  const sameWork = peer && (await checkSameWork(ours, peer, dtype));
  const losses = { openplug: 0, peer: 0 };
  const turn = (side: Side, which: keyof typeof losses) => async (): Promise<number> => {
    const reply = await side.ask({ do: 'steps', count: shape.stepsPerTurn });
    losses[which] = reply.loss as number;
    return reply.seconds as number;
  };
  const seconds = await takeTurns<'openplug' | 'peer' | 'gemm'>(rounds, {
    openplug: turn(ours, 'openplug'),
    peer: peer ? turn(peer, 'peer') : async () => Number.NaN,
    gemm: () => ours.number({ do: 'gemm' }, 'flopsPerSecond'),
  });
  const gemmFlopsPerSecond = Math.max(...seconds.gemm);
  const numLabels = stored.value.batch.labels.flat().length;
  const flops = trainingFlops(shape, numLabels) * shape.stepsPerTurn;
  const tokens = shape.batch * (shape.sourceLength + shape.targetLength) * shape.stepsPerTurn;
  const side = (which: keyof typeof losses): SideResult => {
    const flopsPerSecond = flops / spreadOf(seconds[which]).median;
    return {
      tokensPerSecond: spreadOf(seconds[which].map((value) => tokens / value)),
      flopsPerSecond,
      shareOfGemm: flopsPerSecond / gemmFlopsPerSecond,
      loss: losses[which],
    };
  };
  return {
    shape: name,
    dtype,
    gemmFlopsPerSecond,
    openplug: side('openplug'),
    ...(peer && { peer: side('peer'), ratio: pairedRatio(seconds.peer, seconds.openplug), sameWork }),
  } as TrainResult;
}

function rowsOf({ shape, dtype, openplug, peer, ratio }: TrainResult): string[][] {
  const row = (name: string, side: SideResult, last: string): string[] => [
    shape,
    dtype,
    name,
    side.tokensPerSecond.median.toFixed(0),
    `${(100 * side.tokensPerSecond.spread).toFixed(0)} %`,
    (side.flopsPerSecond / 1e9).toFixed(0),
    `${(100 * side.shareOfGemm).toFixed(0)} %`,
    side.loss.toFixed(3),
    last,
  ];
  const rows = [row('OpenPLUG', openplug, ratio ? `×${ratio.median.toFixed(2)}` : '–')];
  if (peer) rows.push(row('PyTorch', peer, ''));
  return rows;
}

/** Training tokens/s of each shape and dtype. */
export async function benchTrain(options: BenchOptions): Promise<void> {
  const chosen = selected('shape', shapeNames, options.shape, measuredShapes);
  const dtypes = selected('dtype', computeDTypes, options.dtype);
  const rounds = options.rounds ?? defaultRounds;
  const python = findPythonOrSay();
  const results: TrainResult[] = [];
  for (const shape of chosen)
    for (const dtype of dtypes) {
      progress(`train, ${shape}, ${dtype}: ${rounds} rounds`);
      results.push(await measure(shape, dtype, rounds, python));
    }
  const header = ['shape', 'dtype', 'side', 'tokens/s', 'spread', 'GFLOP/s', 'of GEMM', 'loss', 'ratio'];
  report(options, [header, ...results.flatMap(rowsOf)], {
    bench: 'train',
    rounds,
    torchVersion: buildInfo().torchVersion,
    peerTorchVersion: python?.torchVersion ?? null,
    results,
  });
}
