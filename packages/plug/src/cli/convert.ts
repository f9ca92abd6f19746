// What `plug init`, `plug import` and `plug quantize` share: the format flags, and writing with progress.
import { z } from 'zod';
import {
  type OpenedModel,
  plainDTypes,
  storedPrecisions,
  type WeightFormat,
  writeModelFolder,
} from '../checkpoint/index.js';
import { countParameters } from '../model/index.js';
import { createProgress, type Progress } from './progress.js';

/** How weights can be stored packed; a description for `--help`. */
export const packedField = z
  .enum(storedPrecisions)
  .describe(
    'store weights packed for inference, to be used where they lie on disk: int4 in about an eighth of float32, int8 in a quarter, bfloat16 in half',
  );

export const plainField = z
  .enum(plainDTypes)
  .describe('dtype of plain weights, which can be trained, exported and quantised');

/** What a conversion reports. */
export interface Converted {
  out: string;
  /** What the model was made from. */
  kind: string;
  parameters: number;
  format: string;
  bytes: number;
  files: readonly string[];
  notes: readonly string[];
  seconds: number;
}

/** A progress bar in megabytes for writing to `out`, shown once something was written. */
export function writingProgress(out: string): {
  onProgress: (writtenBytes: number, totalBytes: number) => void;
  finish: () => void;
} {
  let bar: Progress | undefined;
  return {
    onProgress(done, total) {
      bar ??= createProgress({ label: `writing ${out}`, total: Math.ceil(total / 1e6), unit: 'MB' });
      bar.update(Math.ceil(done / 1e6));
    },
    finish: () => bar?.finish(),
  };
}

/** Writes `model` to the new folder `out`, with a progress bar. */
export async function convert(
  model: OpenedModel,
  out: string,
  format: WeightFormat,
  signal: AbortSignal,
): Promise<Converted> {
  const started = performance.now();
  const { onProgress, finish } = writingProgress(out);
  const written = await writeModelFolder(out, model, format, { signal, onProgress });
  finish();
  return {
    out,
    kind: model.kind,
    parameters: countParameters(model.config),
    format: 'dtype' in format ? format.dtype : format.precision,
    bytes: written.bytes,
    files: written.files,
    notes: model.notes,
    seconds: (performance.now() - started) / 1000,
  };
}

/** The report for people. */
export function describeConverted({
  out,
  kind,
  parameters,
  format,
  bytes,
  files,
  notes,
  seconds,
}: Converted): string {
  return [
    `${kind}: ${parameters.toLocaleString('en')} parameters in ${format}, ${formatBytes(bytes)} in ${files.length} ` +
      `file${files.length === 1 ? '' : 's'}, ${seconds.toFixed(1)} s → ${out}`,
    ...notes.map((note) => `note: ${note}`),
  ].join('\n');
}

/** Bytes as "13.4 MB", in powers of ten. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  const value = bytes / 1000 ** unit;
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}
