// Whether work fits a machine, and what would make it fit: a smaller batch, recomputation, smaller weights, more ranks.
import type { PlugConfig } from '../model/index.js';
import { inferenceMemory } from './inference-memory.js';
import { trainingMemory } from './training-memory.js';
import {
  type InferenceWork,
  inferencePrecisions,
  type Mesh,
  type TrainingWork,
  tensorDegrees,
} from './work.js';

export type Work = TrainingWork | InferenceWork;

/** A change that makes work fit. */
export interface Remedy {
  /** For people: "--recompute --batch 4". */
  readonly flags: string;
  /** Bytes of one rank then. */
  readonly total: number;
}

/** Bytes of one rank. */
export function totalBytes(config: PlugConfig, work: Work): number {
  return 'dtype' in work ? trainingMemory(config, work).total : inferenceMemory(config, work).total;
}

/** The mesh of the fewest ranks, and of those with the fewest tensor-parallel ones, on which work fits; up to 4096. */
export function smallestMesh(config: PlugConfig, work: Work, memoryBytes: number): Mesh | undefined {
  const degrees = tensorDegrees(config);
  for (let ranks = 1; ranks <= 4096; ranks *= 2)
    for (const tensor of degrees) {
      const mesh = { data: ranks / tensor, tensor };
      if (mesh.data < 1 || mesh.data > work.batch) continue;
      if (totalBytes(config, { ...work, mesh }) <= memoryBytes) return mesh;
    }
  return undefined;
}

/**
 * Single changes that make work fit, then pairs of them; the ones that change least come first.
 * @param mesh the smallest that fits, which a caller may have looked for already
 */
export function remedies(
  config: PlugConfig,
  work: Work,
  memoryBytes: number,
  mesh: Mesh | undefined = smallestMesh(config, work, memoryBytes),
): Remedy[] {
  const found: Remedy[] = [];
  const consider = (flags: string, changed: Work): boolean => {
    const total = totalBytes(config, changed);
    if (total > memoryBytes) return false;
    found.push({ flags, total });
    return true;
  };
  const smallerBatch = (flags: string, changed: Work): void => {
    const { data } = changed.mesh;
    for (
      let batch = data * Math.ceil(changed.batch / data / 2);
      batch >= data;
      batch = batch === data ? 0 : data * Math.ceil(batch / data / 2)
    )
      if (consider(`${flags}--batch ${batch}`, { ...changed, batch })) return;
  };
  smallerBatch('', work);
  if ('dtype' in work) {
    if (!work.recompute) {
      const recomputing = { ...work, recompute: true };
      if (!consider('--recompute', recomputing)) smallerBatch('--recompute ', recomputing);
    }
  } else {
    const smaller = inferencePrecisions.slice(inferencePrecisions.indexOf(work.precision) + 1);
    for (const precision of smaller) if (consider(`--dtype ${precision}`, { ...work, precision })) break;
  }
  if (mesh && mesh.data * mesh.tensor > 1)
    found.push({ flags: meshFlags(mesh), total: totalBytes(config, { ...work, mesh }) });
  return found;
}

/** "--tensor 8", "--data 2 --tensor 4". */
export function meshFlags({ data, tensor }: Mesh): string {
  return (
    [data > 1 ? `--data ${data}` : '', tensor > 1 ? `--tensor ${tensor}` : ''].filter(Boolean).join(' ') ||
    'one rank'
  );
}
