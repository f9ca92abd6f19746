// The configuration of a PALM 2.0 or ChatPLUG: a `config.json` of the decoder, and a folder with that of the BERT which
// encodes. Field names and defaults as in the published code.
import { existsSync } from 'node:fs';
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError } from '../../errors.js';
import { type PlugConfig, plugConfig } from '../../model/index.js';
import type { TensorSource } from '../tensor-source.js';
import { parseBertConfig } from './bert-config.js';
import type { BertPrefixes } from './bert-layout.js';
import { readJsonObject } from './config-file.js';

const size = z.int().positive();

const schema = z.looseObject({
  encoder: z.enum(['bert', 'zh_bert']),
  /** Folder of the encoder's configuration and vocabulary, below the model's own. */
  encoder_pth: z.string().default(''),
  max_pos: size.default(512),
  dec_layers: size.default(12),
  dec_hidden_size: size.default(768),
  dec_heads: size.default(8),
  dec_ff_size: size.default(3072),
  dec_dropout: z.number().min(0).lt(1).default(0.2),
});

/** Whether this is the configuration of such a model. */
export function isPalmConfig(json: Readonly<Record<string, unknown>>): boolean {
  return 'encoder_pth' in json || 'dec_ff_size' in json;
}

export interface PalmConfig {
  /** All vocabulary entries count as real. */
  readonly config: PlugConfig;
  /** Where vocab.txt is, if anywhere. */
  readonly encoderFolder: string;
  readonly notes: readonly string[];
}

/**
 * Reads the two configurations. What the encoder's does not say, or all of it where there is none, is seen in `weights`.
 * @throws ConfigError naming a field that is wrong, or asks for another computation than ours
 */
export function readPalmConfig(folder: string, weights: TensorSource, prefixes: BertPrefixes): PalmConfig {
  const where = join(folder, 'config.json');
  const json = readJsonObject(where);
  const checked = schema.safeParse(json);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    const field = issue?.path.join('.') ?? '';
    throw new ConfigError(`${where}: "${field}" is ${JSON.stringify(json[field])}: ${issue?.message}.`);
  }
  const palm = checked.data;
  const encoderFolder = findEncoderFolder(folder, palm.encoder_pth);
  const encoder = encoderFolder
    ? parseBertConfig(readJsonObject(join(encoderFolder, 'config.json')), join(encoderFolder, 'config.json'))
    : { config: encoderFromShapes(weights, prefixes, where), notes: [assumedSizes(where, palm.encoder_pth)] };
  const { hiddenSize, hiddenDropoutProb } = encoder.config;
  if (palm.dec_hidden_size !== hiddenSize)
    throw new ConfigError(
      `${where}: "dec_hidden_size" is ${palm.dec_hidden_size}, but the encoder's hidden size is ${hiddenSize}; they must be equal.`,
    );
  const notes = [...encoder.notes];
  if (palm.dec_dropout !== hiddenDropoutProb)
    notes.push(
      `The decoder was trained with dropout ${palm.dec_dropout}; here one rate is set for the whole model, the encoder's ${hiddenDropoutProb}.`,
    );
  return {
    config: plugConfig(
      {
        ...encoder.config,
        maxPositionEmbeddings: positionsOf(encoder.config, palm.max_pos, weights, prefixes),
        decHiddenLayers: palm.dec_layers,
        decEmbeddings: 'sinusoidal',
        decNumAttentionHeads: palm.dec_heads,
        decIntermediateSize: palm.dec_ff_size,
        decLayernormEpsilon: 1e-6,
        decHiddenAct: 'gelu_new',
      },
      where,
    ),
    encoderFolder: encoderFolder ?? folder,
    notes,
  };
}

/** Inside the model's folder only: a file that was downloaded must not choose what else is read. */
function findEncoderFolder(folder: string, name: string): string | undefined {
  return [join(folder, name), join(folder, basename(name))].find((candidate) => {
    const path = relative(resolve(folder), resolve(candidate));
    const isInside = path !== '' && !isAbsolute(path) && path.split(/[\\/]/)[0] !== '..';
    return isInside && existsSync(join(candidate, 'config.json'));
  });
}

const headSize = 64;

function assumedSizes(where: string, name: string): string {
  return (
    `${where}: the encoder's configuration ${JSON.stringify(name)} is not in the folder; its sizes are those of the ` +
    `tensors, with heads of ${headSize} and all else as in BERT.`
  );
}

/** The sizes of the tensors, for files that only name a published BERT. */
function encoderFromShapes(weights: TensorSource, { encoder }: BertPrefixes, where: string): PlugConfig {
  const rows = (name: string): readonly number[] => weights.info(`${encoder}${name}.weight`).shape;
  const [vocabSize, hiddenSize] = rows('embeddings.word_embeddings') as [number, number];
  const layers = new Set(
    weights.names().flatMap((name) => {
      const match = name.startsWith(encoder) && /^encoder\.layer\.(\d+)\./.exec(name.slice(encoder.length));
      return match ? [match[1]] : [];
    }),
  );
  if (hiddenSize % headSize !== 0)
    throw new ConfigError(
      `${where}: the encoder's configuration ("encoder_pth") is not in the folder, and with a hidden size of ${hiddenSize} ` +
        'its number of heads cannot be known. Put the config.json and vocab.txt of its BERT there.',
    );
  const { config } = parseBertConfig(
    {
      vocab_size: vocabSize,
      hidden_size: hiddenSize,
      num_hidden_layers: layers.size,
      num_attention_heads: hiddenSize / headSize,
      intermediate_size: rows('encoder.layer.0.intermediate.dense')[0],
      max_position_embeddings: rows('embeddings.position_embeddings')[0],
      type_vocab_size: rows('embeddings.token_type_embeddings')[0],
    },
    where,
  );
  return config;
}

/** Published code may lengthen the encoder's positions to `max_pos`. */
function positionsOf(
  { maxPositionEmbeddings }: PlugConfig,
  longest: number,
  weights: TensorSource,
  { encoder }: BertPrefixes,
): number {
  const name = `${encoder}embeddings.position_embeddings.weight`;
  const rows = weights.has(name) ? weights.info(name).shape[0] : undefined;
  return rows === longest ? longest : maxPositionEmbeddings;
}
