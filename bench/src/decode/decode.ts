// Decoding speed, greedy, a fixed number of new tokens: our cache against the way of the published code, which runs
// the whole decoder over all tokens at each step, and against CTranslate2. Encoding the prompts is part of the time
// on all sides. In fp32 all must write the same tokens. A round is a start of all processes.
import { buildInfo } from '@openplug/torch';
import { caseSeed, StoredModel } from '../case.js';
import {
  BenchmarkError,
  type BenchOptions,
  pairedRatio,
  progress,
  report,
  type Spread,
  selected,
  spreadOf,
} from '../harness/harness.js';
import { findPeer, type Peer, type PeerName, peerSide } from '../harness/peers.js';
import { ourSide, type Reply, type Side, Sides } from '../harness/side.js';
import { type Shape, type ShapeName, shapeNames, shapes, special } from '../shapes.js';
import { bytesPerStep, type DecodeCase, type Precision, precisions, promptsOf } from './case.js';

const defaultRounds = 5;

interface Opponent {
  way: string;
  peer: PeerName;
  script: string;
  precisions: readonly Precision[];
}

const opponents = {
  published: {
    way: 'recomputing all',
    peer: 'system-torch',
    script: 'decode_pytorch.py',
    precisions: ['float32', 'bfloat16'],
  },
  ctranslate2: {
    way: '',
    peer: 'ctranslate2',
    script: 'decode_ctranslate2.py',
    precisions: ['float32', 'int8'],
  },
} as const satisfies Record<string, Opponent>;

type OpponentName = keyof typeof opponents;

/** Rows that run when none is asked for. Large models show how near decoding comes to reading memory alone. */
const defaultRows: readonly { shape: ShapeName; batches: readonly number[]; against: OpponentName[] }[] = [
  { shape: 'reference', batches: [1], against: ['published', 'ctranslate2'] },
  { shape: 'reference', batches: [8, 32], against: ['ctranslate2'] },
  { shape: 'base', batches: [1], against: ['ctranslate2'] },
  { shape: 'large', batches: [1], against: ['ctranslate2'] },
];
const trialRows: typeof defaultRows = [
  { shape: 'trial', batches: [1], against: ['published', 'ctranslate2'] },
  { shape: 'trial', batches: [3], against: ['ctranslate2'] },
];

interface Row {
  shape: ShapeName;
  precision: Precision;
  /** Texts decoded together. */
  batch: number;
}

interface SideResult {
  title: string;
  /** New tokens per second, all texts together. */
  tokensPerSecond: Spread;
  /** Up to the first token. */
  firstTokenMs?: number;
  /** Bytes of weights that the steps after the first read in a second, over the read rate measured in the same run. */
  shareOfRead?: number;
}

interface PeerResult extends SideResult {
  /** Ours over the peer's, round by round. */
  ratio: Spread;
  /** Share of tokens before the first at which a text differs from ours; below fp32 rounding may part them. */
  sameTokens: number;
}

interface DecodeResult extends Row {
  newTokens: number;
  readBytesPerSecond: number;
  openplug: SideResult;
  peers: Partial<Record<OpponentName, PeerResult>>;
}

/** Share of tokens before the first at which two texts of `newTokens` differ. */
export function sharedStart(ours: readonly number[], theirs: readonly number[], newTokens: number): number {
  if (ours.length !== theirs.length || ours.length === 0)
    throw new BenchmarkError(
      `Ours wrote ${ours.length} tokens, the peer ${theirs.length}: not the same work.`,
    );
  let shared = 0;
  for (let text = 0; text < ours.length; text += newTokens) {
    let at = text;
    while (at < text + newTokens && ours[at] === theirs[at]) at++;
    shared += at - text;
  }
  return shared / ours.length;
}

/** @throws BenchmarkError when texts differ in fp32 */
function checked(row: Row, title: string, ours: Reply, theirs: Reply, newTokens: number): number {
  const share = sharedStart(ours.ids as number[], theirs.ids as number[], newTokens);
  if (row.precision === 'float32' && share < 1)
    throw new BenchmarkError(
      `Greedy decoding in fp32 against ${title}: the two sides do not do the same work, so their speeds cannot be ` +
        `compared. Only ${(100 * share).toFixed(1)} % of the tokens come before a first difference.`,
    );
  return share;
}

/** What a side took in one start of the processes. */
interface Turn {
  seconds: number;
  /** Up to the first token; not told by all peers. */
  firstSeconds: number | undefined;
}

interface Start {
  turns: Map<string, Turn>;
  sameTokens: Map<OpponentName, number>;
  readBytesPerSecond: number;
}

/** Starts all sides, has each write once uncounted, compares what they wrote, and has each write once more. */
async function startOnce(row: Row, path: string, found: ReadonlyMap<OpponentName, Peer>): Promise<Start> {
  await using sides = new Sides();
  const ours = sides.add(ourSide('decode/side.js', path));
  const running = new Map<string, Side>([['openplug', ours]]);
  for (const [name, peer] of found)
    running.set(name, sides.add(peerSide(peer, opponents[name].script, path)));
  const first = new Map<string, Reply>();
  for (const [name, side] of running) first.set(name, await side.ask({ do: 'generate' }));
  const { newTokens } = shapes[row.shape];
  const sameTokens = new Map(
    [...found].map(([name, peer]) => [
      name,
      checked(row, titleOf(name, peer), first.get('openplug')!, first.get(name)!, newTokens),
    ]),
  );
  const turns = new Map<string, Turn>();
  for (const [name, side] of running) {
    const { seconds, firstSeconds } = await side.ask({ do: 'generate' });
    turns.set(name, { seconds: seconds as number, firstSeconds: firstSeconds as number | undefined });
  }
  return { turns, sameTokens, readBytesPerSecond: await ours.number({ do: 'readRate' }, 'bytesPerSecond') };
}

const titleOf = (name: OpponentName, { title }: Peer): string => `${title} ${opponents[name].way}`.trim();

async function measure(
  row: Row,
  stored: StoredModel,
  rounds: number,
  found: ReadonlyMap<OpponentName, Peer>,
): Promise<DecodeResult> {
  const shape: Shape = shapes[row.shape];
  const { newTokens } = shape;
  const given: DecodeCase = {
    precision: row.precision,
    prompts: promptsOf(shape, row.batch, caseSeed),
    newTokens,
    endId: special.sep,
    forbiddenIds: Object.values(special),
  };
  const path = stored.storeCase(given);
  // Where in memory a process finds its weights decides how fast they are read, and stays as it is until it ends: on
  // some machines 4.4 or 6.5 ms a step. So each round starts all sides again, and the spread tells of it.
  const starts: Start[] = [];
  for (let round = 0; round < rounds; round++) starts.push(await startOnce(row, path, found));
  const turnsOf = (name: string): Turn[] => starts.map(({ turns }) => turns.get(name)!);
  const secondsOf = (name: string): number[] => turnsOf(name).map(({ seconds }) => seconds);
  const readBytesPerSecond = Math.max(...starts.map((start) => start.readBytesPerSecond));
  const resultOf = (name: string, title: string): SideResult => {
    const timed = turnsOf(name).flatMap(({ seconds, firstSeconds }) =>
      firstSeconds === undefined ? [] : [{ firstSeconds, step: (seconds - firstSeconds) / (newTokens - 1) }],
    );
    return {
      title,
      tokensPerSecond: spreadOf(secondsOf(name).map((seconds) => (row.batch * newTokens) / seconds)),
      ...(timed.length > 0 && {
        firstTokenMs: 1000 * spreadOf(timed.map(({ firstSeconds }) => firstSeconds)).median,
        shareOfRead:
          bytesPerStep(shape, row.precision) /
          spreadOf(timed.map(({ step }) => step)).median /
          readBytesPerSecond,
      }),
    };
  };
  const peers = [...found].map(([name, peer]) => [
    name,
    {
      ...resultOf(name, titleOf(name, peer)),
      ratio: pairedRatio(secondsOf(name), secondsOf('openplug')),
      sameTokens: Math.min(...starts.map(({ sameTokens }) => sameTokens.get(name)!)),
    },
  ]);
  return {
    ...row,
    newTokens,
    readBytesPerSecond,
    openplug: resultOf('openplug', 'OpenPLUG'),
    peers: Object.fromEntries(peers) as DecodeResult['peers'],
  };
}

function rowsOf({ shape, precision, batch, openplug, peers }: DecodeResult): string[][] {
  const row = (side: SideResult, peer?: PeerResult): string[] => [
    shape,
    precision,
    `${batch}`,
    side.title,
    side.tokensPerSecond.median.toFixed(1),
    `${(100 * side.tokensPerSecond.spread).toFixed(0)} %`,
    side.firstTokenMs?.toFixed(0) ?? '–',
    side.shareOfRead ? `${(100 * side.shareOfRead).toFixed(0)} %` : '–',
    peer ? `${(100 * peer.sameTokens).toFixed(0)} %` : '',
    peer ? `×${peer.ratio.median.toFixed(2)}` : '',
  ];
  return [row(openplug), ...Object.values(peers).map((peer) => row(peer, peer))];
}

/** Decoding tokens/s of each shape, precision and batch. */
export async function benchDecode(options: BenchOptions): Promise<Record<string, Spread>> {
  const known = [...defaultRows, ...trialRows];
  const wanted = options.shape && selected('shape', shapeNames, options.shape)[0];
  const groups = wanted ? known.filter(({ shape }) => shape === wanted) : defaultRows;
  const chosen = selected('dtype', precisions, options.dtype);
  const rounds = options.rounds ?? defaultRounds;
  const peers = new Map<OpponentName, Peer>();
  for (const name of Object.keys(opponents) as OpponentName[]) {
    const peer = findPeer(opponents[name].peer);
    if (peer) peers.set(name, peer);
  }
  const results: DecodeResult[] = [];
  for (const { shape, batches, against } of groups) {
    using stored = new StoredModel(shapes[shape].config);
    for (const precision of chosen)
      for (const batch of batches) {
        progress(`decode, ${shape}, ${precision}, batch ${batch}: ${rounds} rounds`);
        const meeting = new Map(
          [...peers].filter(
            ([name]) =>
              against.includes(name) &&
              (opponents[name].precisions as readonly Precision[]).includes(precision),
          ),
        );
        results.push(await measure({ shape, precision, batch }, stored, rounds, meeting));
      }
  }
  const header = [
    'shape',
    'dtype',
    'batch',
    'side',
    'tokens/s',
    'spread',
    'first ms',
    'of read',
    'same ids',
    'ours is',
  ];
  report(options, [header, ...results.flatMap(rowsOf)], {
    bench: 'decode',
    rounds,
    torchVersion: buildInfo().torchVersion,
    results,
  });
  return Object.fromEntries(
    results.flatMap(({ shape, precision, batch, peers }) =>
      Object.entries(peers).map(([peer, { ratio }]) => [
        `decode ${shape} ${precision} batch ${batch} against ${peer}`,
        ratio,
      ]),
    ),
  );
}
