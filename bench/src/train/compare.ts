// One row of the training benchmark: all sides on the same weights and batch. Before anything is timed, three steps
// without dropout must give all of them the same losses and gradient norms.
import { caseSeed, StoredModel } from '../case.js';
import { checkAgreement, pairedRatio, type Spread, spreadOf, takeTurns } from '../harness/harness.js';
import { findPeer, type Peer, type PeerName, peerSide } from '../harness/peers.js';
import { ourSide, type Side, Sides } from '../harness/side.js';
import { trainingOperations } from '../openplug.js';
import { type ComputeDType, type Shape, trainingBatch } from '../shapes.js';
import type { TrainCase } from './case.js';

const checkSteps = 3;
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

export type OpponentName = keyof typeof opponents;

export interface SideResult {
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

/** One row. */
export interface TrainResult {
  shape: string;
  dtype: ComputeDType;
  dropout: string;
  gemmFlopsPerSecond: number;
  openplug: SideResult;
  peers: Partial<Record<OpponentName, PeerResult>>;
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

/** Measures one row. @throws BenchmarkError when a side does other work */
export async function compareTraining(
  row: Pick<TrainResult, 'shape' | 'dtype' | 'dropout'>,
  shape: Shape,
  rounds: number,
  found: ReadonlyMap<OpponentName, Peer>,
): Promise<TrainResult> {
  const { dtype } = row;
  using stored = new StoredModel({
    ...shape.config,
    hiddenDropoutProb: Number(row.dropout),
    attentionProbsDropoutProb: Number(row.dropout),
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
  // Alone there is nobody to agree with, and these steps take minutes of a large model.
  for (const [name, side] of found.size > 0 ? running : [])
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
  const labels = given.batch.labels.flat().length;
  const flops = trainingOperations(shape.config, shape, { labels }) * shape.stepsPerTurn;
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

/** The opponents that this machine has, of those asked for. */
export function foundOpponents(
  wanted: readonly OpponentName[] = Object.keys(opponents) as OpponentName[],
): ReadonlyMap<OpponentName, Peer> {
  const peers = new Map<PeerName, Peer | undefined>();
  const found = new Map<OpponentName, Peer>();
  for (const name of wanted) {
    const { peer } = opponents[name];
    if (!peers.has(peer)) peers.set(peer, findPeer(peer));
    const there = peers.get(peer);
    if (there) found.set(name, there);
  }
  return found;
}
