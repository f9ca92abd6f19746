// Export of a model to ONNX: an encoder with its sentence head, a masked-LM head, and a decoder with its cache, each a
// graph of standard operators in fp32. What is in the files, and how to run them: docs/onnx.md.
import { copyFile, open, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { openSafetensors } from '@openplug/torch';
import { CheckpointError, ConfigError } from '../../errors.js';
import { type PlugConfig, plugConfigToJson, requireNoPrompt } from '../../model/index.js';
import { type WritingOptions, writeNewFolder } from '../new-folder.js';
import type { OpenedModel, TensorSource } from '../tensor-source.js';
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

export interface ExportOnnxOptions extends WritingOptions {
  /** A model with more bytes of weights than this keeps them in a file of their own. Default 1 GiB; at most 2 GB. */
  readonly maxEmbeddedBytes?: number;
}

/** A file that an export wrote. */
export interface OnnxFile {
  readonly name: string;
  readonly bytes: number;
}

/** Protobuf readers stop at 2³¹ − 1 bytes; the graph itself needs some too. */
const embeddedLimit = 2_000_000_000;

/** Beside a fine-tuned model: `classifier.weight` [labels, E] and `classifier.bias` [labels]. */
const classifierFile = 'classifier.safetensors';

/** By file name; encoder-only models have no decoder. */
function graphsOf(config: PlugConfig, numLabels: number | undefined): Map<string, BuiltGraph> {
  const graphs = new Map([
    ['encoder_model.onnx', encoderGraph(config, numLabels === undefined ? undefined : { numLabels })],
    ['masked_lm_head.onnx', maskedLmGraph(config)],
  ]);
  if (config.decHiddenLayers > 0) graphs.set('decoder_model_merged.onnx', decoderGraph(config));
  return graphs;
}

/**
 * Writes `encoder_model.onnx`, `masked_lm_head.onnx`, `decoder_model_merged.onnx` (unless the model is an encoder
 * alone), `config.json` and the tokenizer's files to the new folder `out`. Tensors, of any floating-point dtype, are
 * read one at a time. A fine-tuned classifier beside the model gives the encoder the output `logits` [batch, labels].
 * @returns the ONNX files, with their sizes
 * @throws CheckpointError when a tensor is missing, misshapen or not of floating point, when `out` has something in it
 *   already, or the disk is too small; ConfigError for a `maxEmbeddedBytes` over 2 GB; the signal's reason when it is
 *   aborted. Nothing is then left behind.
 */
export async function exportOnnx(
  { weights, config, filesBeside }: OpenedModel,
  out: string,
  { maxEmbeddedBytes = 2 ** 30, signal, onProgress }: ExportOnnxOptions = {},
): Promise<OnnxFile[]> {
  requireNoPrompt(config, 'ONNX as it is written here');
  if (!(maxEmbeddedBytes >= 0 && maxEmbeddedBytes <= embeddedLimit))
    throw new ConfigError(
      `maxEmbeddedBytes is ${maxEmbeddedBytes}, expected 0 to ${embeddedLimit}: a protobuf message ends at 2 GiB.`,
    );
  const classifierPath = filesBeside.find((path) => basename(path) === classifierFile);
  using classifier = classifierPath === undefined ? undefined : openSafetensors(classifierPath);
  const sourceOf = (weight: Weight): TensorSource =>
    classifier && weight.source.startsWith('classifier.') ? classifier : weights;
  const read: ReadWeight = (weight) => sourceOf(weight).tensor(weight.source);

  const graphs = graphsOf(config, classifier && numLabelsOf(classifier));
  for (const built of graphs.values())
    for (const weight of built.weights) checkWeight(weight, sourceOf(weight));
  const files = new Map<string, FileContent>();
  for (const [name, built] of graphs) {
    const dataName = `${name}_data`;
    if (embeddedBytes(built) <= maxEmbeddedBytes) files.set(name, embeddedModel(built, read));
    else files.set(dataName, externalData(built, read)).set(name, externalModel(built, dataName));
  }
  const total = [...files.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  let written = 0;
  await writeNewFolder(out, total, async (folder) => {
    for (const [name, { pieces }] of files)
      await writePieces(join(folder, name), pieces, (count) => {
        written += count;
        onProgress?.(written, total);
        signal?.throwIfAborted();
      });
    const json = `${JSON.stringify(plugConfigToJson(config), null, 2)}\n`;
    await writeFile(join(folder, 'config.json'), json, { flush: true });
    for (const path of filesBeside)
      if (path !== classifierPath) await copyFile(path, join(folder, basename(path)));
  });
  return [...files].map(([name, { bytes }]) => ({ name, bytes }));
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

/** @param onBytes called after each piece; what it throws ends the writing */
async function writePieces(
  path: string,
  pieces: Iterable<Uint8Array>,
  onBytes: (count: number) => void,
): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (const piece of pieces) {
      try {
        await file.writeFile(piece); // from where the last one ended
      } catch (error) {
        throw new CheckpointError(
          `Cannot write ${path}: ${(error as Error).message}. Free some space or choose another folder.`,
          { cause: error },
        );
      }
      onBytes(piece.length);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}
