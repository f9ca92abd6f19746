// Writes a model folder tensor by tensor, so that a model may be larger than memory. Everything is written beside the
// destination first, which then appears whole: an interruption leaves nothing that could be taken for a model.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { SafetensorsWriter } from '@openplug/torch';
import { CheckpointError } from '../errors.js';
import { listParameters, plugConfigToJson } from '../model/index.js';
import type { OpenedModel } from './tensor-source.js';
import { indexFile, weightsFile } from './weight-files.js';
import {
  bytesOf,
  makePiece,
  type Piece,
  piecesOf,
  quantizationToJson,
  tiedName,
  type WeightFormat,
} from './weight-format.js';

/** Callbacks and limits of `writeModelFolder`. */
export interface WriteOptions {
  /** Called after each parameter, with bytes of weights. */
  readonly onProgress?: (writtenBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
  /** Most bytes of one file, unless a single parameter takes more. Default 4 GB, as JavaScript can map 4 GiB at once. */
  readonly maxFileBytes?: number;
}

export interface WrittenModel {
  /** Names of the files of weights. */
  readonly files: readonly string[];
  /** Bytes of all weights. */
  readonly bytes: number;
}

const defaultMaxFileBytes = 4e9;

/**
 * Writes `model` in `format` to the new folder `out`: config.json, weights with an index and checksums, and the
 * tokenizer's files. At most one parameter is in memory at a time, as it was and as it will be.
 * @throws CheckpointError when `out` has something in it already, the disk is too small, or a tensor is missing or
 *   misshapen; the signal's reason when it is aborted. Nothing is then left behind.
 */
export async function writeModelFolder(
  out: string,
  model: OpenedModel,
  format: WeightFormat,
  options: WriteOptions = {},
): Promise<WrittenModel> {
  const { signal, onProgress, maxFileBytes = defaultMaxFileBytes } = options;
  const pieces = piecesOf(model.config, format);
  checkTensors(model);
  const total = sum(pieces.map(pieceBytes));
  const unfinished = startFolder(out, total);
  try {
    const groups = filesOf(pieces, maxFileBytes);
    const index = {
      metadata: { total_size: total, checksums: {} as Record<string, string> },
      weight_map: {} as Record<string, string>,
    };
    let written = 0;
    for (const [number, group] of groups.entries()) {
      const name = fileName(number, groups.length);
      using writer = new SafetensorsWriter(
        join(unfinished, name),
        new Map(group.flatMap(({ tensors }) => tensors)),
        {
          format: 'pt',
          openplug_version: '1',
        },
      );
      for (const piece of group) {
        signal?.throwIfAborted();
        writePiece(writer, piece, model);
        for (const [tensor] of piece.tensors) index.weight_map[tensor] = name;
        written += pieceBytes(piece);
        onProgress?.(written, total);
        await setImmediate(); // lets Ctrl-C and the progress bar in
      }
      index.metadata.checksums[name] = writer.finish();
    }
    writeJson(join(unfinished, indexFile), index);
    writeJson(join(unfinished, 'config.json'), {
      ...plugConfigToJson(model.config),
      ...('precision' in format ? { quantization_config: quantizationToJson(format.precision) } : {}),
    });
    for (const file of model.filesBeside) await copyFile(file, join(unfinished, basename(file)));
    signal?.throwIfAborted();
    renameSync(unfinished, out);
    return { files: groups.map((_, number) => fileName(number, groups.length)), bytes: total };
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  }
}

function writePiece(writer: SafetensorsWriter, piece: Piece, model: OpenedModel): void {
  const made = makePiece(piece, model.weights);
  try {
    for (const [index, [name]] of piece.tensors.entries()) writer.write(name, made[index]!);
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}

/** The source must hold every parameter in its shape, and no other; checked before anything is written. */
function checkTensors({ weights, config }: OpenedModel): void {
  const parameters = listParameters(config);
  for (const { name, shape } of parameters) {
    if (!weights.has(name))
      throw new CheckpointError(`${weights.path}: tensor "${name}" (shape [${shape}]) is missing.`);
    const found = weights.info(name).shape;
    if (`${found}` !== `${shape}`)
      throw new CheckpointError(
        `${weights.path}: tensor "${name}" has shape [${found}], expected [${shape}].`,
      );
  }
  const known = new Set(parameters.map(({ name }) => name));
  const extra = weights.names().find((name) => !known.has(name) && name !== tiedName);
  if (extra !== undefined)
    throw new CheckpointError(
      `${weights.path}: tensor "${extra}" belongs to no part of the configured model.`,
    );
}

/** The folder to write to, beside the destination; what an earlier attempt left is removed. */
function startFolder(out: string, bytes: number): string {
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new CheckpointError(`${out} is not empty. Choose a new folder, or remove what is there.`);
  const unfinished = `${resolve(out)}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(dirname(unfinished), { recursive: true });
  const { bavail, bsize } = statfsSync(dirname(unfinished));
  if (bavail * bsize < bytes)
    throw new CheckpointError(
      `${out} would take ${gigabytes(bytes)}, but ${gigabytes(bavail * bsize)} are free on its disk. ` +
        'Free some space, choose another disk, or store the weights in fewer bits (--quantize int4).',
    );
  mkdirSync(unfinished);
  return unfinished;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toPrecision(3)} GB`;
}

/** Parameters in as few files as their order allows. */
function filesOf(pieces: readonly Piece[], maxFileBytes: number): Piece[][] {
  const files: Piece[][] = [];
  let room = 0;
  for (const piece of pieces) {
    const bytes = pieceBytes(piece);
    if (bytes > room || files.length === 0) {
      files.push([]);
      room = maxFileBytes;
    }
    files.at(-1)!.push(piece);
    room -= bytes;
  }
  return files;
}

function fileName(number: number, count: number): string {
  const digits = (value: number): string => `${value}`.padStart(5, '0');
  return count === 1 ? weightsFile : `model-${digits(number + 1)}-of-${digits(count)}.safetensors`;
}

function pieceBytes({ tensors }: Piece): number {
  return sum(tensors.map(([, info]) => bytesOf(info)));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`, { flush: true });
}
