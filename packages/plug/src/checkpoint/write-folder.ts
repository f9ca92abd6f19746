// Writes a model folder tensor by tensor, so that a model may be larger than memory. Everything is written beside the
// destination first, which then appears whole: an interruption leaves nothing that could be taken for a model.
import { writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { SafetensorsWriter } from '@openplug/torch';
import { CheckpointError } from '../errors.js';
import { listParameters, plugConfigToJson } from '../model/index.js';
import { type WritingOptions, writeNewFolder } from './new-folder.js';
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
export interface WriteOptions extends WritingOptions {
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
  checkTensors(model);
  const groups = filesOf(piecesOf(model.config, format), options.maxFileBytes ?? defaultMaxFileBytes);
  const bytes = sum(groups.flat().map(pieceBytes));
  return await writeNewFolder(out, bytes, async (folder) => {
    const index = await writeWeights(folder, model, groups, options);
    writeJson(join(folder, indexFile), index);
    writeJson(join(folder, 'config.json'), {
      ...plugConfigToJson(model.config),
      ...('precision' in format ? { quantization_config: quantizationToJson(format.precision) } : {}),
    });
    for (const file of model.filesBeside) await copyFile(file, join(folder, basename(file)));
    return { files: Object.keys(index.metadata.checksums), bytes };
  });
}

async function writeWeights(
  folder: string,
  model: OpenedModel,
  groups: readonly (readonly Piece[])[],
  { signal, onProgress }: WriteOptions,
): Promise<{
  metadata: { total_size: number; checksums: Record<string, string> };
  weight_map: Record<string, string>;
}> {
  const total = sum(groups.flat().map(pieceBytes));
  const checksums: Record<string, string> = {};
  const weightMap: Record<string, string> = {};
  let written = 0;
  for (const [number, group] of groups.entries()) {
    const name = fileName(number, groups.length);
    const tensors = new Map(group.flatMap((piece) => piece.tensors));
    using writer = new SafetensorsWriter(join(folder, name), tensors, {
      format: 'pt',
      openplug_version: '1',
    });
    for (const piece of group) {
      signal?.throwIfAborted();
      writePiece(writer, piece, model);
      written += pieceBytes(piece);
      onProgress?.(written, total);
      await setImmediate(); // lets Ctrl-C and the progress bar in
    }
    signal?.throwIfAborted();
    checksums[name] = writer.finish();
    for (const tensor of tensors.keys()) weightMap[tensor] = name;
  }
  return { metadata: { total_size: total, checksums }, weight_map: weightMap };
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
