// What `plug plan` says of memory against what training takes: peak resident bytes of a process over those that it held
// before there was a model. Fails when they differ by more than a tenth.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { BenchmarkError, type BenchOptions, progress, report, selected } from '../harness/harness.js';
import { ourSide } from '../harness/side.js';
import { type PlugConfig, trainingMemory } from '../openplug.js';
import { type ComputeDType, computeDTypes, type ShapeName, shapeNames, shapes } from '../shapes.js';
import type { PlanCase } from './case.js';

const tolerance = 0.1;

/** Shape, texts, tokens of each on either side, recomputation, decoder or not. */
type Row = readonly [ShapeName, number, number, number, boolean, ComputeDType, 'encoder'?];

const rows: readonly Row[] = [
  ['quickstart', 64, 64, 64, false, 'bfloat16'],
  ['quickstart', 64, 64, 64, false, 'float32'],
  ['quickstart', 256, 64, 64, true, 'float32'],
  ['reference', 8, 256, 256, false, 'bfloat16'],
  ['reference', 8, 256, 256, false, 'float32'],
  ['reference', 2, 512, 128, false, 'bfloat16'],
  ['reference', 16, 512, 32, false, 'bfloat16', 'encoder'],
  ['reference', 32, 256, 256, true, 'bfloat16'],
  ['reference', 16, 128, 128, true, 'float32'],
  ['base', 4, 256, 256, false, 'bfloat16'],
  ['base', 8, 256, 256, true, 'bfloat16'],
];

/** Planned and measured bytes of each row. @throws BenchmarkError when they differ too much */
export async function benchPlan(options: BenchOptions): Promise<void> {
  const names = selected('shape', shapeNames, options.shape);
  const dtypes = selected('dtype', computeDTypes, options.dtype);
  const folder = mkdtempSync(join(tmpdir(), 'openplug-plan-'));
  const results: { row: string[]; planned: number; measured: number; ratio: number; moment: string }[] = [];
  try {
    for (const [name, batch, sourceLength, targetLength, recompute, dtype, kind] of rows) {
      if (!names.includes(name) || !dtypes.includes(dtype)) continue;
      const config: PlugConfig = {
        ...shapes[name].config,
        ...(kind === 'encoder' && { decHiddenLayers: 0 }),
      };
      const target = kind === 'encoder' ? '' : ` + ${targetLength}`;
      const row = [
        kind === 'encoder' ? `${name}, encoder` : name,
        dtype,
        `${batch} × (${sourceLength}${target})`,
        recompute ? 'yes' : 'no',
      ];
      progress(`plan: ${row.join(', ')}`);
      const work = { batch, sourceLength, targetLength, dtype, recompute };
      const plan = trainingMemory(config, { ...work, optimizer: 'adamw', mesh: { data: 1, tensor: 1 } });
      const planned = plan.total - plan.process;
      const path = join(folder, 'case.json');
      const given: PlanCase = { ...work, config, threads: availableParallelism() };
      writeFileSync(path, JSON.stringify(given));
      await using side = ourSide('plan/side.js', path);
      const { baselineBytes, peakBytes } = (await side.ask({ do: 'train' })) as Record<string, number>;
      const measured = peakBytes! - baselineBytes!;
      results.push({ row, planned, measured, ratio: planned / measured, moment: plan.moment });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const mebi = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  report(
    options,
    [
      ['shape', 'dtype', 'tokens', 'recomputed', 'planned MiB', 'measured MiB', 'ratio', 'at its most'],
      ...results.map(({ row, planned, measured, ratio, moment }) => [
        ...row,
        mebi(planned),
        mebi(measured),
        ratio.toFixed(3),
        moment,
      ]),
    ],
    { bench: 'plan', results },
  );
  const wrong = results.filter(({ ratio }) => !(Math.abs(ratio - 1) <= tolerance));
  if (wrong.length > 0)
    throw new BenchmarkError(
      `${wrong.length} of ${results.length} plans are off by more than ${100 * tolerance} %: ` +
        wrong.map(({ row, ratio }) => `${row.join(', ')} (×${ratio.toFixed(3)})`).join('; '),
    );
}
