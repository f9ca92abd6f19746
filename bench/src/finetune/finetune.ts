// Fine-tuning a classifier, and scoring with it: ours without padding against the usual PyTorch loop, which pads each
// batch to its longest. Batches are the same on all sides. Adapters against all of the model: peak memory.
import { buildInfo } from '@openplug/torch';
import { caseSeed, StoredModel } from '../case.js';
import {
  BenchmarkError,
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
import { findPeer, type Peer, peerSide } from '../harness/peers.js';
import { ourSide, type Side, Sides } from '../harness/side.js';
import { computeDTypes, type Shape, type ShapeName, shapeNames, shapes } from '../shapes.js';
import { type FinetuneCase, labelledTexts } from './case.js';

const defaultRounds = 5;
const numTexts = { trial: 12, other: 128 };
const batch = { trial: 4, other: 32 };
const loraRank = 8;

/** Largest relative difference of the losses of the first epoch, dropout off. */
const tolerance = { float32: 1e-3, bfloat16: 5e-2 } as const;

interface SideResult {
  title: string;
  trainedPerSecond: Spread;
  scoredPerSecond: Spread;
  /** Mean loss of the last epoch of training, and accuracy on what was trained on. */
  loss: number;
  accuracy: number;
  peakBytes: number;
  /** Ours over this side's. */
  ratio?: { train: Spread; evaluate: Spread };
}

interface FinetuneResult {
  shape: ShapeName;
  dtype: FinetuneCase['precision'];
  sides: Record<string, SideResult>;
}

async function measure(
  name: ShapeName,
  dtype: FinetuneCase['precision'],
  stored: StoredModel,
  rounds: number,
  peers: ReadonlyMap<string, Peer>,
): Promise<FinetuneResult> {
  const shape: Shape = shapes[name];
  const kind = name === 'trial' ? 'trial' : 'other';
  const given: FinetuneCase = {
    precision: dtype,
    ...labelledTexts(shape, numTexts[kind], caseSeed),
    batch: batch[kind],
    learningRate: 1e-4,
    weightDecay: 0.01,
    clipGradNorm: 1,
    loraRank: 0,
  };
  const path = stored.storeCase(given);
  const loraPath = stored.storeCase({ ...given, learningRate: 1e-3, loraRank });
  await using sides = new Sides();
  const running = new Map<string, { title: string; side: Side }>();
  running.set('openplug', { title: 'OpenPLUG', side: sides.add(ourSide('finetune/side.js', path)) });
  running.set('lora', {
    title: `OpenPLUG, LoRA ${loraRank}`,
    side: sides.add(ourSide('finetune/side.js', loraPath)),
  });
  for (const [key, peer] of peers)
    running.set(key, { title: peer.title, side: sides.add(peerSide(peer, 'finetune_pytorch.py', path)) });
  const ours = (await running.get('openplug')!.side.ask({ do: 'check' })).losses as number[];
  for (const key of peers.keys()) {
    const { title, side } = running.get(key)!;
    const losses = (await side.ask({ do: 'check' })).losses as number[];
    checkAgreement(`Losses of an epoch, ${title}`, ours, losses, tolerance[dtype]);
  }
  const losses = new Map<string, number>();
  const accuracies = new Map<string, number>();
  const turns: Record<string, () => Promise<number>> = {};
  for (const [key, { side }] of running) {
    turns[`${key} train`] = async () => {
      const { seconds, loss } = await side.ask({ do: 'train' });
      losses.set(key, loss as number);
      return seconds as number;
    };
    turns[`${key} evaluate`] = async () => {
      const { seconds, accuracy } = await side.ask({ do: 'evaluate' });
      accuracies.set(key, accuracy as number);
      return seconds as number;
    };
  }
  const measured = await takeTurns(rounds, turns);
  const result: Record<string, SideResult> = {};
  for (const [key, { title, side }] of running) {
    const [train, evaluate] = [measured[`${key} train`]!, measured[`${key} evaluate`]!];
    const perSecond = (seconds: readonly number[]): Spread =>
      spreadOf(seconds.map((value) => given.texts.length / value));
    const loss = losses.get(key)!;
    if (!Number.isFinite(loss)) throw new BenchmarkError(`The loss of ${title} is ${loss}.`);
    result[key] = {
      title,
      trainedPerSecond: perSecond(train),
      scoredPerSecond: perSecond(evaluate),
      loss,
      accuracy: accuracies.get(key)!,
      peakBytes: await side.number({ do: 'memory' }, 'peakBytes'),
      ...(peers.has(key) && {
        ratio: {
          train: pairedRatio(train, measured['openplug train']!),
          evaluate: pairedRatio(evaluate, measured['openplug evaluate']!),
        },
      }),
    };
  }
  return { shape: name, dtype, sides: result };
}

function rowsOf({ shape, dtype, sides }: FinetuneResult): string[][] {
  return Object.values(sides).map((side) => [
    shape,
    dtype,
    side.title,
    side.trainedPerSecond.median.toFixed(1),
    `${(100 * side.trainedPerSecond.spread).toFixed(0)} %`,
    side.scoredPerSecond.median.toFixed(1),
    side.loss.toFixed(3),
    `${(100 * side.accuracy).toFixed(0)} %`,
    (side.peakBytes / 2 ** 20).toFixed(0),
    side.ratio ? `×${side.ratio.train.median.toFixed(2)}, ×${side.ratio.evaluate.median.toFixed(2)}` : '',
  ]);
}

/** Texts/s of training and of scoring. */
export async function benchFinetune(options: BenchOptions): Promise<void> {
  const chosen = selected('shape', shapeNames, options.shape, ['reference']);
  const wanted = selected('dtype', computeDTypes, options.dtype);
  const rounds = options.rounds ?? defaultRounds;
  const peers = new Map<string, Peer>();
  for (const name of ['system-torch', 'torch2'] as const) {
    const peer = findPeer(name);
    if (peer) peers.set(name, peer);
  }
  const results: FinetuneResult[] = [];
  for (const shape of chosen) {
    using stored = new StoredModel(shapes[shape].config);
    for (const dtype of wanted) {
      progress(`finetune, ${shape}, ${dtype}: ${rounds} rounds`);
      results.push(await measure(shape, dtype, stored, rounds, peers));
    }
  }
  const header = [
    'shape',
    'dtype',
    'side',
    'trained/s',
    'spread',
    'scored/s',
    'loss',
    'accuracy',
    'peak MiB',
    'ours is',
  ];
  report(options, [header, ...results.flatMap(rowsOf)], {
    bench: 'finetune',
    rounds,
    torchVersion: buildInfo().torchVersion,
    results,
  });
}
