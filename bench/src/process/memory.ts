// Peak memory of training, resident bytes of a whole process after three steps: ours against PyTorch at the same
// batch, nothing recomputed, and ours with a batch four times as large whose layers are recomputed.
import { buildInfo } from '@openplug/torch';
import { caseSeed, StoredModel } from '../case.js';
import { type BenchOptions, progress, report, selected } from '../harness/harness.js';
import { findPeer, peerSide } from '../harness/peers.js';
import { ourSide, type Side } from '../harness/side.js';
import { computeDTypes, type Shape, type ShapeName, shapeNames, shapes, trainingBatch } from '../shapes.js';
import type { TrainCase } from '../train/case.js';

const steps = 3;

async function peakBytes(started: Side): Promise<number> {
  await using side = started;
  await side.ask({ do: 'steps', count: steps });
  return await side.number({ do: 'memory' }, 'peakBytes');
}

/** Peak bytes of each side and batch. */
export async function benchMemory(options: BenchOptions): Promise<void> {
  const name: ShapeName = selected('shape', shapeNames, options.shape, ['reference'])[0]!;
  const shape: Shape = shapes[name];
  const peers = [
    { peer: findPeer('system-torch'), script: 'train_pytorch.py', way: 'plain', args: [] },
    { peer: findPeer('torch2'), script: 'train_compiled.py', way: 'compiled', args: ['all'] },
  ];
  using stored = new StoredModel(shape.config);
  const results: { dtype: string; title: string; batch: number; bytes: number }[] = [];
  for (const dtype of selected('dtype', computeDTypes, options.dtype)) {
    const caseOf = (batch: number, recomputeLayers: boolean): string =>
      stored.storeCase({
        precision: dtype,
        learningRate: 1e-3,
        weightDecay: 0.01,
        clipGradNorm: 1,
        batch: trainingBatch({ ...shape, batch }, caseSeed),
        recomputeLayers,
      } satisfies TrainCase);
    const add = async (title: string, batch: number, side: Side): Promise<void> => {
      progress(`memory, ${dtype}, ${title}, batch ${batch}`);
      results.push({ dtype, title, batch, bytes: await peakBytes(side) });
    };
    const path = caseOf(shape.batch, false);
    await add('OpenPLUG', shape.batch, ourSide('train/side.js', path));
    const large = caseOf(4 * shape.batch, true);
    await add('OpenPLUG, recomputing', 4 * shape.batch, ourSide('train/side.js', large));
    for (const { peer, script, way, args } of peers)
      if (peer) await add(`${peer.title} ${way}`, shape.batch, peerSide(peer, script, path, ...args));
  }
  const rows = results.map(({ dtype, title, batch, bytes }) => {
    const ours = results.find((other) => other.dtype === dtype)!.bytes;
    const share = title.startsWith('OpenPLUG') ? '' : `×${(ours / bytes).toFixed(2)}`;
    return [name, dtype, title, `${batch}`, `${(bytes / 2 ** 20).toFixed(0)}`, share];
  });
  report(options, [['shape', 'dtype', 'side', 'batch', 'peak MiB', 'ours at its batch is'], ...rows], {
    bench: 'memory',
    shape: name,
    torchVersion: buildInfo().torchVersion,
    results,
  });
}
