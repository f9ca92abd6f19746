// Export of a model to ONNX: an encoder with its sentence head, a masked-LM head, and a decoder with its cache, each a
// graph of standard operators in fp32. What is in the files, and how to run them: docs/onnx.md.
import { existsSync, mkdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import writeFileAtomic from 'write-file-atomic';
import { CheckpointError, ConfigError } from '../../errors.js';
import { type PlugConfig, plugConfigToJson, requirePlugDecoder } from '../../model/index.js';
import type { TensorSource } from '../tensor-source.js';
import { decoderGraph } from './decoder-graph.js';
import { encoderGraph, maskedLmGraph } from './encoder-graph.js';
import type { BuiltGraph, Weight } from './graph-builder.js';
import {
  embeddedBytes,
  embeddedModel,
  externalData,
  externalModel,
  type FileContent,
  type ReadWeight,
} from './model-bytes.js';

/** How far an export is. */
export interface OnnxProgress {
  /** The file that is being written. */
  file: string;
  doneBytes: number;
  /** Of all files. */
  totalBytes: number;
}

export interface ExportOnnxOptions {
  /**
   * A fine-tuned classifier, as `classifier.weight` [labels, E] and `classifier.bias` [labels]: the encoder gets the
   * output `logits` [batch, labels]. Default: none.
   */
  classifier?: TensorSource;
  /** A model with more bytes of weights than this keeps them in a file of their own. Default 1 GiB; at most 2 GB. */
  maxEmbeddedBytes?: number;
  /** Ends the export with the signal's reason; nothing is left behind. */
  signal?: AbortSignal;
  /** Called after each tensor, and within larger ones every few megabytes. */
  onProgress?: (progress: OnnxProgress) => void;
}

/** A file that an export wrote. */
export interface OnnxFile {
  path: string;
  bytes: number;
}

/** Protobuf readers stop at 2³¹ − 1 bytes; the graph itself needs some too. */
const embeddedLimit = 2_000_000_000;

/** By file name; encoder-only models have no decoder. */
function graphsOf(config: PlugConfig, numLabels: number | undefined): Map<string, BuiltGraph> {
  const graphs = new Map([
    ['encoder_model.onnx', encoderGraph(config, numLabels === undefined ? undefined : { numLabels })],
    ['masked_lm_head.onnx', maskedLmGraph(config)],
  ]);
  if (config.decHiddenLayers > 0) graphs.set('decoder_model_merged.onnx', decoderGraph(config));
  return graphs;
}

const allNames = ['encoder_model.onnx', 'masked_lm_head.onnx', 'decoder_model_merged.onnx'];

/**
 * Writes `encoder_model.onnx`, `masked_lm_head.onnx`, `decoder_model_merged.onnx` (unless the model is an encoder
 * alone) and `config.json` into `folder`, replacing an earlier export as a whole. Tensors are read one at a time.
 * @param source the parameters that `config` asks for, of any floating-point dtype
 * @returns the files, with their sizes
 * @throws CheckpointError when a tensor is missing, misshapen or not of floating point (before anything is written),
 *   when the disk has too little room, or a file cannot be written
 * @throws ConfigError for a `maxEmbeddedBytes` over 2 GB, or a decoder other than PLUG's
 * @throws the reason of `signal`
 */
export async function exportOnnx(
  source: TensorSource,
  config: PlugConfig,
  folder: string,
  options: ExportOnnxOptions = {},
): Promise<OnnxFile[]> {
  const { classifier, maxEmbeddedBytes = 2 ** 30, signal } = options;
  if (!(maxEmbeddedBytes >= 0 && maxEmbeddedBytes <= embeddedLimit))
    throw new ConfigError(
      `maxEmbeddedBytes is ${maxEmbeddedBytes}, expected 0 to ${embeddedLimit}: a protobuf message ends at 2 GiB.`,
    );
  requirePlugDecoder(config, 'the export to ONNX');
  signal?.throwIfAborted();
  const sourceOf = (weight: Weight): TensorSource =>
    classifier && weight.source.startsWith('classifier.') ? classifier : source;
  const read: ReadWeight = (weight) => sourceOf(weight).tensor(weight.source);

  const graphs = graphsOf(config, classifier && numLabelsOf(classifier));
  for (const { weights } of graphs.values())
    for (const weight of weights) checkWeight(weight, sourceOf(weight));
  const files = new Map<string, FileContent>();
  for (const [name, built] of graphs) {
    const dataName = `${name}_data`;
    if (embeddedBytes(built) <= maxEmbeddedBytes) files.set(name, embeddedModel(built, read));
    else files.set(dataName, externalData(built, read)).set(name, externalModel(built, dataName));
  }
  return writeFiles(folder, files, config, options);
}

function numLabelsOf(classifier: TensorSource): number {
  const { shape } = classifier.info('classifier.weight');
  return shape[0] ?? 0;
}

function checkWeight({ source: name, shape }: Weight, source: TensorSource): void {
  if (!source.has(name))
    throw new CheckpointError(
      `${source.path}: tensor "${name}" (shape [${shape}]) is missing, so the model cannot be exported.`,
    );
  const { dtype, shape: stored } = source.info(name);
  if (stored.length !== shape.length || stored.some((size, index) => size !== shape[index]))
    throw new CheckpointError(`${source.path}: tensor "${name}" has shape [${stored}], expected [${shape}].`);
  if (!/float/.test(dtype))
    throw new CheckpointError(
      `${source.path}: tensor "${name}" holds ${dtype}, expected a floating-point dtype. ` +
        'Export the model from before its quantisation.',
    );
}

/** Writes all files under temporary names and, when the last is complete, renames them together. */
async function writeFiles(
  folder: string,
  files: ReadonlyMap<string, FileContent>,
  config: PlugConfig,
  { signal, onProgress }: ExportOnnxOptions,
): Promise<OnnxFile[]> {
  const temporary = (name: string): string => join(folder, `${name}.tmp-${process.pid}`);
  const totalBytes = [...files.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  let doneBytes = 0;
  try {
    mkdirSync(folder, { recursive: true });
    checkDisk(folder, totalBytes);
    for (const [file, { pieces }] of files)
      await writePieces(temporary(file), pieces, signal, (count) => {
        doneBytes += count;
        onProgress?.({ file, doneBytes, totalBytes });
      });
    for (const name of files.keys()) renameSync(temporary(name), join(folder, name));
    // Of an earlier export of another model or form, which would now stand beside files that it does not belong to.
    for (const name of allNames.flatMap((model) => [model, `${model}_data`]))
      if (!files.has(name)) rmSync(join(folder, name), { force: true });
    writeFileAtomic.sync(
      join(folder, 'config.json'),
      `${JSON.stringify(plugConfigToJson(config), null, 2)}\n`,
    );
    return [...files].map(([name, { bytes }]) => ({ path: join(folder, name), bytes }));
  } catch (error) {
    for (const path of [...files.keys()].map(temporary)) if (existsSync(path)) rmSync(path);
    if (!(error instanceof Error && 'syscall' in error)) throw error; // of a tensor or a callback, not of the disk
    throw new CheckpointError(
      `Cannot write the export into ${folder}: ${error.message}. Free some space or choose another ` +
        'folder, then try again.',
      { cause: error },
    );
  }
}

function checkDisk(folder: string, totalBytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < totalBytes)
    throw new CheckpointError(
      `${folder}: the export takes ${gigabytes(totalBytes)} (fp32), but its disk has ${gigabytes(bavail * bsize)} ` +
        'left. Free some space or choose another folder.',
    );
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(3)} GB`;

async function writePieces(
  path: string,
  pieces: Iterable<Uint8Array>,
  signal: AbortSignal | undefined,
  onBytes: (count: number) => void,
): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (const piece of pieces) {
      await file.writeFile(piece); // from where the last one ended
      onBytes(piece.length);
      signal?.throwIfAborted();
    }
    await file.sync();
  } finally {
    await file.close();
  }
}
