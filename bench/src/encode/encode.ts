// Encoder classification, texts of mixed length to the three logits of the sentence head: ours without padding,
// against PyTorch and ONNX Runtime with batches of 32 padded to their longest, as the texts come and sorted by length.
// All logits are held against ours in fp32.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildInfo } from '@openplug/torch';
import { caseSeed, StoredModel } from '../case.js';
import { type Precision, precisions } from '../decode/case.js';
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
import { findPeer, type Peer, type PeerName, peerSide } from '../harness/peers.js';
import { ourSide, type Side, Sides } from '../harness/side.js';
import { type Shape, type ShapeName, shapeNames, shapes } from '../shapes.js';
import { type EncodeCase, textsOf } from './case.js';

const defaultRounds = 5;
const numTexts = { trial: 8, other: 64 };
const batch = 32;

/** Largest difference of a logit (their deviation is about 1), and smallest share of texts put into the same class. */
const budgets = {
  float32: { difference: 1e-3, sameClass: 1 },
  bfloat16: { difference: 0.2, sameClass: 0.85 },
  int8: { difference: 1, sameClass: 0.7 },
} as const satisfies Record<Precision, { difference: number; sameClass: number }>;

const engines = {
  torch: { peer: 'system-torch', precisions: ['float32', 'bfloat16', 'int8'] },
  torch2: { peer: 'torch2', precisions: ['float32', 'bfloat16'] },
  onnx: { peer: 'onnx', precisions: ['float32', 'int8'] },
} as const satisfies Record<string, { peer: PeerName; precisions: readonly Precision[] }>;

type EngineName = keyof typeof engines;
const orders = ['given', 'sorted'] as const;

export interface Agreement {
  /** Of a logit from our fp32. */
  largestDifference: number;
  /** Share of texts whose largest logit is the same. */
  sameClass: number;
}

interface SideResult extends Agreement {
  title: string;
  textsPerSecond: Spread;
  tokensPerSecond: number;
  /** Ours over this side's, round by round; absent for ourselves. */
  ratio?: Spread;
}

interface EncodeResult {
  shape: ShapeName;
  precision: Precision;
  numTexts: number;
  sides: Record<string, SideResult>;
}

/** How far logits (three for each text) are from the reference. */
export function agreement(logits: readonly number[], reference: readonly number[]): Agreement {
  if (logits.length !== reference.length || logits.length === 0)
    throw new BenchmarkError(`Got ${logits.length} logits where ${reference.length} were expected.`);
  const classOf = (values: readonly number[]): number => values.indexOf(Math.max(...values));
  let [largestDifference, same] = [0, 0];
  for (let at = 0; at < logits.length; at += 3) {
    const [left, right] = [logits.slice(at, at + 3), reference.slice(at, at + 3)];
    for (const [label, value] of left.entries()) {
      const difference = Math.abs(value - right[label]!);
      largestDifference = Number.isNaN(difference) ? Number.NaN : Math.max(largestDifference, difference);
    }
    if (classOf(left) === classOf(right)) same++;
  }
  return { largestDifference, sameClass: (3 * same) / logits.length };
}

function checked(found: Agreement, title: string, precision: Precision): Agreement {
  const { difference, sameClass } = budgets[precision];
  if (!(found.largestDifference <= difference) || found.sameClass < sameClass)
    throw new BenchmarkError(
      `Logits of ${title} in ${precision} are up to ${found.largestDifference.toPrecision(3)} from ours in fp32 ` +
        `(allowed ${difference}), ${(100 * found.sameClass).toFixed(0)} % of the texts in the same class ` +
        `(at least ${100 * sameClass} %): not the same work, so speeds cannot be compared.`,
    );
  return found;
}

const nodePeers = fileURLToPath(new URL('../../peers/node/', import.meta.url));

/** The version of onnxruntime-node, which runs the model that the Python package writes; undefined: not installed. */
function onnxRuntimeVersion(): string | undefined {
  const path = join(nodePeers, 'node_modules/onnxruntime-node/package.json');
  return existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
    : undefined;
}

/** The model as ONNX in a precision; exported once. */
function onnxModel(peer: Peer, stored: StoredModel, casePath: string, precision: Precision): string {
  const path = join(stored.folder, `encoder-${precision}.onnx`);
  if (existsSync(path)) return path;
  const script = fileURLToPath(new URL('../../peers/export_onnx.py', import.meta.url));
  const { status, stderr } = spawnSync(peer.python, [script, casePath, path], { encoding: 'utf8' });
  if (status !== 0) throw new BenchmarkError(`The export to ONNX failed:\n${stderr.slice(-4000)}`);
  return path;
}

async function measure(
  name: ShapeName,
  precision: Precision,
  stored: StoredModel,
  rounds: number,
  found: ReadonlyMap<EngineName, Peer>,
): Promise<EncodeResult> {
  const shape: Shape = shapes[name];
  const texts = textsOf(shape, name === 'trial' ? numTexts.trial : numTexts.other, caseSeed);
  const given: EncodeCase = { precision, texts, batch };
  const path = stored.storeCase(given);
  await using sides = new Sides();
  const ours = sides.add(ourSide('encode/side.js', path));
  const reference = (await ours.ask({ do: 'reference' })).logits as number[];
  const running = new Map<string, { title: string; side: Side }>();
  running.set('openplug', { title: 'OpenPLUG', side: ours });
  for (const [engine, peer] of found)
    for (const order of orders) {
      const side =
        engine === 'onnx'
          ? ourSide('encode/onnx-side.js', path, onnxModel(peer, stored, path, precision), order)
          : peerSide(peer, 'encode_pytorch.py', path, order);
      const engineTitle = engine === 'onnx' ? `onnxruntime-node ${onnxRuntimeVersion()}` : peer.title;
      const title = `${engineTitle}${order === 'sorted' ? ', sorted' : ''}`;
      running.set(`${engine}-${order}`, { title, side: sides.add(side) });
    }
  const agreements = new Map<string, Agreement>();
  for (const [key, { title, side }] of running) {
    const { logits } = await side.ask({ do: 'encode' });
    agreements.set(key, checked(agreement(logits as number[], reference), title, precision));
  }
  const turns: Record<string, () => Promise<number>> = {};
  for (const [key, { side }] of running) turns[key] = () => side.number({ do: 'encode' }, 'seconds');
  const measured = await takeTurns(rounds, turns);
  const numTokens = texts.reduce((sum, text) => sum + text.length, 0);
  const result: Record<string, SideResult> = {};
  for (const [key, { title }] of running)
    result[key] = {
      title,
      textsPerSecond: spreadOf(measured[key]!.map((seconds) => texts.length / seconds)),
      tokensPerSecond: numTokens / spreadOf(measured[key]!).median,
      ...agreements.get(key)!,
      ...(key !== 'openplug' &&
        measured.openplug && { ratio: pairedRatio(measured[key]!, measured.openplug) }),
    };
  return { shape: name, precision, numTexts: texts.length, sides: result };
}

function rowsOf({ shape, precision, sides }: EncodeResult): string[][] {
  return Object.values(sides).map((side) => [
    shape,
    precision,
    side.title,
    side.textsPerSecond.median.toFixed(1),
    `${(100 * side.textsPerSecond.spread).toFixed(0)} %`,
    side.tokensPerSecond.toFixed(0),
    side.largestDifference.toExponential(1),
    `${(100 * side.sameClass).toFixed(0)} %`,
    side.ratio ? `×${side.ratio.median.toFixed(2)}` : '',
  ]);
}

/** Texts/s of each shape and precision. */
export async function benchEncode(options: BenchOptions): Promise<Record<string, Spread>> {
  const chosen = selected('shape', shapeNames, options.shape, ['reference']);
  const wanted = selected('dtype', precisions, options.dtype);
  const rounds = options.rounds ?? defaultRounds;
  const peers = new Map<EngineName, Peer>();
  for (const name of Object.keys(engines) as EngineName[]) {
    const peer = findPeer(engines[name].peer);
    if (name === 'onnx' && !onnxRuntimeVersion())
      progress('SKIPPED: ONNX Runtime, as onnxruntime-node is not installed. npm run bench:setup.');
    else if (peer) peers.set(name, peer);
  }
  const results: EncodeResult[] = [];
  for (const shape of chosen) {
    using stored = new StoredModel(shapes[shape].config);
    for (const precision of wanted) {
      progress(`encode, ${shape}, ${precision}: ${rounds} rounds`);
      const meeting = new Map(
        [...peers].filter(([name]) => (engines[name].precisions as readonly Precision[]).includes(precision)),
      );
      results.push(await measure(shape, precision, stored, rounds, meeting));
    }
  }
  const header = [
    'shape',
    'dtype',
    'side',
    'texts/s',
    'spread',
    'tokens/s',
    'logits off by',
    'same class',
    'ours is',
  ];
  report(options, [header, ...results.flatMap(rowsOf)], {
    bench: 'encode',
    rounds,
    torchVersion: buildInfo().torchVersion,
    results,
  });
  return Object.fromEntries(
    results.flatMap(({ shape, precision, sides }) =>
      Object.entries(sides).flatMap(([side, { ratio }]) =>
        ratio ? [[`encode ${shape} ${precision} against ${side}`, ratio]] : [],
      ),
    ),
  );
}
