// A post-LN encoder as Hugging Face lays out BERT, for transformers and whatever else reads that.
import { copyFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { bytesPerElement, SafetensorsWriter, type TensorInfo } from '@openplug/torch';
import { CheckpointError, ConfigError } from '../../errors.js';
import { listParameters, type PlugConfig, requireNoPrompt } from '../../model/index.js';
import { type WritingOptions, writeNewFolder } from '../new-folder.js';
import { tokenizerFilesAmong } from '../open-model.js';
import type { OpenedModel, TensorSource } from '../tensor-source.js';
import { weightsFile } from '../weight-files.js';
import { bytesOf } from '../weight-format.js';
import { bertConfigToJson } from './bert-config.js';
import { bertNames } from './bert-layout.js';

/** One of the tensors that a parameter is written as. */
interface Part extends TensorInfo {
  readonly name: string;
  readonly parameter: string;
  /** First of the parameter's rows. */
  readonly start: number;
}

/**
 * Writes the encoder of a model, its masked-LM head and its sentence head to the new folder `out`, tensor by tensor:
 * config.json, model.safetensors and the tokenizer's files. Numbers and dtypes stay what they are, so that reading it
 * again gives the same model. A classifier's head stays behind, as BERT's is of a pooled state.
 * @returns what a user should know, a sentence each
 * @throws ConfigError for a pre-LN encoder, CheckpointError when a tensor is missing or `out` cannot be written
 */
export async function exportBert(
  { weights: source, config, filesBeside }: OpenedModel,
  out: string,
  { signal, onProgress }: WritingOptions = {},
): Promise<string[]> {
  requireNoPrompt(config, 'the layout of BERT');
  if (config.preLn)
    throw new ConfigError(
      `${source.path}: this encoder normalises before each sublayer and once at its end (pre_ln), as PLUG does. ` +
        'BERT normalises after each sublayer: its layout has no place for the final normalisation, and whoever loaded ' +
        'such a file would compute something else. Only post-LN encoders can be written as BERT.',
    );
  const parts = partsOf(source, config);
  const bytes = parts.reduce((total, part) => total + bytesOf(part), 0);
  let written = 0;
  await writeNewFolder(out, bytes, async (folder) => {
    const announced = new Map(parts.map(({ name, dtype, shape }) => [name, { dtype, shape }]));
    using writer = new SafetensorsWriter(join(folder, weightsFile), announced, { format: 'pt' });
    for (const part of parts) {
      const { name, parameter, start, shape } = part;
      signal?.throwIfAborted();
      using whole = source.tensor(parameter);
      using rows = whole.narrow(0, start, shape[0]!);
      writer.write(name, rows);
      written += bytesOf(part);
      onProgress?.(written, bytes);
      await setImmediate(); // lets Ctrl-C and the progress bar in
    }
    writer.finish();
    for (const file of tokenizerFilesAmong(filesBeside)) copyFileSync(file, join(folder, basename(file)));
    writeFileSync(join(folder, 'config.json'), `${JSON.stringify(bertConfigToJson(config), null, 2)}\n`, {
      flush: true,
    });
  });
  const notes = [
    "cls.seq_relationship has StructBERT's three classes of the first token's state; transformers leaves it aside unless BertForPreTraining is asked for, which has two.",
  ];
  if (config.decHiddenLayers > 0) notes.push('The decoder was left behind: BERT has none.');
  return notes;
}

/** Wide dtypes first, as the file format wants them. */
function partsOf(source: TensorSource, config: PlugConfig): Part[] {
  const parameters = listParameters({ ...config, decHiddenLayers: 0 });
  const parts = parameters.flatMap(({ name: parameter, shape: expected }) => {
    if (!source.has(parameter))
      throw new CheckpointError(`${source.path}: tensor "${parameter}" (shape [${expected}]) is missing.`);
    const { dtype, shape } = source.info(parameter);
    if (`${shape}` !== `${expected}`)
      throw new CheckpointError(
        `${source.path}: tensor "${parameter}" has shape [${shape}], expected [${expected}].`,
      );
    const names = bertNames(parameter);
    const rows = shape[0]! / names.length;
    return names.map((name, index) => ({
      name,
      parameter,
      start: index * rows,
      dtype,
      shape: [rows, ...shape.slice(1)],
    }));
  });
  return parts.sort((a, b) => bytesPerElement[b.dtype] - bytesPerElement[a.dtype]);
}
