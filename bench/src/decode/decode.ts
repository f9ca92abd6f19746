// Decoding speed, batch 1, greedy: our cache against the way of the published code, which runs the whole decoder
// over all tokens at each step. Encoding the prompt is part of the time on both sides. In fp32 both must write the
// same tokens.
import { buildInfo } from '@openplug/torch';
import { storeCase } from '../case.js';
import {
  BenchmarkError,
  type BenchOptions,
  pairedRatio,
  progress,
  report,
  type Spread,
  selected,
  spreadOf,
  takeTurns,
} from '../harness/harness.js';
import { findPeer, type Peer, peerSide } from '../harness/peers.js';
import { ourSide, type Side } from '../harness/side.js';
import {
  type ComputeDType,
  computeDTypes,
  measuredShapes,
  type Shape,
  type ShapeName,
  shapeNames,
  shapes,
} from '../shapes.js';

const defaultRounds = 5;

interface DecodeResult {
  shape: ShapeName;
  dtype: ComputeDType;
  promptTokens: number;
  newTokens: number;
  /** New tokens per second. */
  openplug: Spread;
  peer?: Spread;
  /** Ours over the peer's, round by round. */
  ratio?: Spread;
  /** Leading tokens on which both sides agree; in bf16 rounding may part them. */
  sameTokens?: number;
}

/** @throws BenchmarkError when the first texts differ in fp32 */
async function countSame(ours: Side, peer: Side, dtype: ComputeDType): Promise<number> {
  const [left, right] = [await ours.ask({ do: 'generate' }), await peer.ask({ do: 'generate' })];
  const [mine, theirs] = [left.ids as number[], right.ids as number[]];
  const differing = mine.findIndex((id, index) => id !== theirs[index]);
  const same = differing < 0 ? mine.length : differing;
  if (dtype === 'float32' && (mine.length !== theirs.length || same < mine.length))
    throw new BenchmarkError(
      `Greedy decoding: the two sides do not do the same work, so their speeds cannot be compared. ` +
        `Of ${mine.length} and ${theirs.length} tokens the first ${same} agree; then ours is ${mine[same]}, the peer's ${theirs[same]}.`,
    );
  return same;
}

async function measure(
  name: ShapeName,
  dtype: ComputeDType,
  rounds: number,
  found: Peer | undefined,
): Promise<DecodeResult> {
  const { promptLength, newTokens }: Shape = shapes[name];
  using stored = storeCase(shapes[name], dtype);
  await using ours = ourSide('decode/side.js', stored.path);
  await using peer = found && peerSide(found, 'decode_pytorch.py', stored.path);
  const sameTokens = peer && (await countSame(ours, peer, dtype));
  const seconds = await takeTurns<'openplug' | 'peer'>(rounds, {
    openplug: () => ours.number({ do: 'generate' }, 'seconds'),
    peer: peer ? () => peer.number({ do: 'generate' }, 'seconds') : async () => Number.NaN,
  });
  const rate = (values: number[]): Spread => spreadOf(values.map((value) => newTokens / value));
  return {
    shape: name,
    dtype,
    promptTokens: promptLength,
    newTokens,
    openplug: rate(seconds.openplug),
    ...(peer && { peer: rate(seconds.peer), ratio: pairedRatio(seconds.peer, seconds.openplug), sameTokens }),
  } as DecodeResult;
}

function rowOf(result: DecodeResult): string[] {
  const { shape, dtype, promptTokens, newTokens, openplug, peer, ratio, sameTokens } = result;
  const rate = (value: Spread | undefined): string =>
    value ? `${value.median.toFixed(1)} (${(100 * value.spread).toFixed(0)} %)` : '–';
  return [
    shape,
    dtype,
    `${promptTokens}`,
    `${newTokens}`,
    rate(openplug),
    rate(peer),
    ratio ? `×${ratio.median.toFixed(2)}` : '–',
    sameTokens === undefined ? '–' : `${sameTokens}`,
  ];
}

/** Decoding tokens/s of each shape and dtype. */
export async function benchDecode(options: BenchOptions): Promise<void> {
  const chosen = selected('shape', shapeNames, options.shape, measuredShapes);
  const dtypes = selected('dtype', computeDTypes, options.dtype);
  const rounds = options.rounds ?? defaultRounds;
  const found = findPeer('system-torch');
  const results: DecodeResult[] = [];
  for (const shape of chosen)
    for (const dtype of dtypes) {
      progress(`decode, ${shape}, ${dtype}: ${rounds} rounds`);
      results.push(await measure(shape, dtype, rounds, found));
    }
  const header = [
    'shape',
    'dtype',
    'prompt',
    'new',
    'OpenPLUG tokens/s (spread)',
    'PyTorch',
    'ratio',
    'same ids',
  ];
  report(options, [header, ...results.map(rowOf)], {
    bench: 'decode',
    rounds,
    torchVersion: buildInfo().torchVersion,
    peerTorchVersion: found?.version ?? null,
    results,
  });
}
