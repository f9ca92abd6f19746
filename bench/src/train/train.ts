// Training speed: a step of stage 2 (masked LM + LM, AdamW, clipping) with and without dropout, against the same model
// in plain PyTorch and in compiled PyTorch 2. Before anything is timed, three steps without dropout must give all
// sides the same losses and gradient norms.
import { buildInfo } from '@openplug/torch';
import { caseSeed, StoredModel } from '../case.js';
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
} from '../harness/harness.js';
import { findPeer, type Peer, type PeerName, peerSide } from '../harness/peers.js';
import { ourSide, type Side, Sides } from '../harness/side.js';
import {
  type ComputeDType,
  computeDTypes,
  measuredShapes,
  type Shape,
  type ShapeName,
  shapeNames,
  shapes,
  trainingBatch,
  trainingFlops,
} from '../shapes.js';
import type { TrainCase } from './case.js';

const defaultRounds = 5;
const checkSteps = 3;
const dropouts = ['0.1', '0'] as const;
/** Largest relative difference of a loss, and of a gradient's norm. */
const lossTolerance = { bfloat16: 2e-2, float32: 1e-4 } as const satisfies Record<ComputeDType, number>;
const gradientTolerance = { bfloat16: 5e-2, float32: 1e-3 } as const satisfies Record<ComputeDType, number>;

interface Opponent {
  /** How a careful reader tells it from the others. */
  way: string;
  peer: PeerName;
  script: string;
  args: string[];
}

const opponents = {
  plain: { way: 'plain', peer: 'system-torch', script: 'train_pytorch.py', args: [] },
  compiled: { way: 'compiled', peer: 'torch2', script: 'train_compiled.py', args: ['all'] },
  compiledLabelled: {
    way: 'compiled, logits at labels only',
    peer: 'torch2',
    script: 'train_compiled.py',
    args: ['labelled'],
  },
} as const satisfies Record<string, Opponent>;

type OpponentName = keyof typeof opponents;

interface SideResult {
  title: string;
  tokensPerSecond: Spread;
  flopsPerSecond: number;
  /** Of the matrix-product rate measured in the same run. */
  shareOfGemm: number;
  /** After all steps, with this row's dropout. */
  loss: number;
}

/** A peer, with our tokens/s over its own, round by round, and the largest relative differences in the check. */
interface PeerResult extends SideResult {
  ratio: Spread;
  lossDifference: number;
  gradientNormDifference: number;
}

interface TrainResult {
  shape: ShapeName;
  dtype: ComputeDType;
  dropout: string;
  gemmFlopsPerSecond: number;
  openplug: SideResult;
  peers: Partial<Record<OpponentName, PeerResult>>;
}

interface Row {
  shape: ShapeName;
  dtype: ComputeDType;
  dropout: string;
}

type Numbers = Record<'losses' | 'gradientNorms', number[]>;

/** Losses and gradient norms of the first steps of two sides. @throws BenchmarkError when they differ */
function compared(ours: Numbers, theirs: Numbers, title: string, dtype: ComputeDType) {
  const difference = (what: string, field: keyof Numbers, tolerance: number): number =>
    checkAgreement(
      `${what} of ${checkSteps} steps in ${dtype}, against ${title}`,
      ours[field],
      theirs[field],
      tolerance,
    );
  return {
    lossDifference: difference('Losses (masked LM, LM)', 'losses', lossTolerance[dtype]),
    gradientNormDifference: difference('Gradient norms', 'gradientNorms', gradientTolerance[dtype]),
  };
}

async function measure(
  row: Row,
  rounds: number,
  found: ReadonlyMap<OpponentName, Peer>,
): Promise<TrainResult> {
  const { dtype } = row;
  const shape: Shape = shapes[row.shape];
  const dropout = Number(row.dropout);
  using stored = new StoredModel({
    ...shape.config,
    hiddenDropoutProb: dropout,
    attentionProbsDropoutProb: dropout,
  });
  const given: TrainCase = {
    precision: dtype,
    learningRate: 1e-3,
    weightDecay: 0.01,
    clipGradNorm: 1,
    batch: trainingBatch(shape, caseSeed),
  };
  const path = stored.storeCase(given);
  await using sides = new Sides();
  const running = new Map<'openplug' | OpponentName, Side>();
  running.set('openplug', sides.add(ourSide('train/side.js', path)));
  for (const [name, peer] of found) {
    const { script, args } = opponents[name];
    running.set(name, sides.add(peerSide(peer, script, path, ...args)));
  }
  const first = new Map<string, Numbers>();
  for (const [name, side] of running)
    first.set(name, (await side.ask({ do: 'check', steps: checkSteps })) as Numbers);
  const checks = new Map(
    [...found].map(([name, { title }]) => [
      name,
      compared(first.get('openplug')!, first.get(name)!, `${title} ${opponents[name].way}`, dtype),
    ]),
  );
  const losses = new Map<string, number>();
  const turns: Record<string, () => Promise<number>> = {};
  for (const [name, side] of running)
    turns[name] = async () => {
      const reply = await side.ask({ do: 'steps', count: shape.stepsPerTurn });
      losses.set(name, reply.loss as number);
      return reply.seconds as number;
    };
  turns.gemm = () => running.get('openplug')!.number({ do: 'gemm' }, 'flopsPerSecond');
  const measured = await takeTurns(rounds, turns);
  const gemmFlopsPerSecond = Math.max(...measured.gemm!);
  const flops = trainingFlops(shape, given.batch.labels.flat().length) * shape.stepsPerTurn;
  const tokens = shape.batch * (shape.sourceLength + shape.targetLength) * shape.stepsPerTurn;
  const resultOf = (name: string, title: string): SideResult => {
    const seconds = measured[name]!;
    const flopsPerSecond = flops / spreadOf(seconds).median;
    return {
      title,
      tokensPerSecond: spreadOf(seconds.map((value) => tokens / value)),
      flopsPerSecond,
      shareOfGemm: flopsPerSecond / gemmFlopsPerSecond,
      loss: losses.get(name)!,
    };
  };
  const peers = [...found].map(([name, { title }]) => {
    const ratio = pairedRatio(measured[name]!, measured.openplug!);
    return [
      name,
      { ...resultOf(name, `${title} ${opponents[name].way}`), ratio, ...checks.get(name)! },
    ] as const;
  });
  return {
    ...row,
    gemmFlopsPerSecond,
    openplug: resultOf('openplug', 'OpenPLUG'),
    peers: Object.fromEntries(peers),
  };
}

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
export async function benchTrain(options: BenchOptions): Promise<void> {
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
        results.push(await measure({ shape, dtype, dropout }, rounds, found));
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
}

function foundOpponents(): ReadonlyMap<OpponentName, Peer> {
  const peers = new Map<PeerName, Peer | undefined>();
  const found = new Map<OpponentName, Peer>();
  for (const [name, { peer }] of Object.entries(opponents) as [OpponentName, Opponent][]) {
    if (!peers.has(peer)) peers.set(peer, findPeer(peer));
    const there = peers.get(peer);
    if (there) found.set(name, there);
  }
  return found;
}
