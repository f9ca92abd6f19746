// The ladder of sizes: one name sets the rest.
import { closest } from 'fastest-levenshtein';
import { ConfigError } from '../errors.js';
import { decoderConfig, type PlugConfig, plugConfig } from './config.js';

/** Hidden size, heads, encoder layers, decoder layers. About one decoder layer to four of the encoder, as in PLUG. */
const ladder = {
  nano: [64, 4, 2, 1],
  tiny: [128, 2, 4, 2],
  mini: [256, 4, 4, 2],
  small: [512, 8, 8, 2],
  base: [768, 12, 12, 3],
  large: [1024, 16, 24, 6],
  '1b': [2048, 32, 18, 5],
  '3b': [3072, 48, 24, 6],
  '7b': [4096, 64, 24, 6],
  '27b': [8192, 128, 24, 6],
} as const satisfies Record<string, readonly [number, number, number, number]>;

export type SizeName = keyof typeof ladder;

/** Names from smallest to largest. */
export const sizeNames = Object.keys(ladder) as SizeName[];

/**
 * The configuration of a named size.
 * @param originalVocabSize real vocabulary entries; rows are padded as published (see `paddedVocabSize`)
 * @throws ConfigError for an unknown name
 */
export function plugConfigOfSize(
  name: string,
  originalVocabSize: number,
  changes: Partial<PlugConfig> = {},
): PlugConfig {
  const sizes = Object.hasOwn(ladder, name) ? ladder[name as SizeName] : undefined;
  if (!sizes)
    throw new ConfigError(
      `Unknown size "${name}". Did you mean "${closest(name, sizeNames)}"? Known: ${sizeNames.join(', ')}.`,
    );
  const [hiddenSize, numAttentionHeads, numHiddenLayers, decHiddenLayers] = sizes;
  return plugConfig({
    vocabSize: paddedVocabSize(originalVocabSize),
    originalVocabSize,
    hiddenSize,
    numAttentionHeads,
    numHiddenLayers,
    decHiddenLayers,
    ...changes,
  });
}

/** Vocabulary rows after padding: a multiple of 128 (so that rows divide over ranks), 1024 for large vocabularies. */
export function paddedVocabSize(originalVocabSize: number): number {
  const multiple = originalVocabSize > 16384 ? 1024 : 128;
  return Math.ceil(originalVocabSize / multiple) * multiple;
}

/** Number of parameters, the tied embedding counted once, the (unused, published) pooler included. */
export function countParameters(config: PlugConfig): number {
  const { hiddenSize: e, intermediateSize: f, vocabSize: v } = config;
  const dense = (input: number, output: number): number => input * output + output;
  const norm = 2 * e;
  const feedForward = (width: number): number => dense(e, width) + dense(width, e);
  const { intermediateSize: decoderWidth } = decoderConfig(config);
  const embeddings = (v + config.maxPositionEmbeddings + config.typeVocabSize) * e + norm;
  const encoderLayer = dense(e, 3 * e) + dense(e, e) + feedForward(f) + 2 * norm;
  const decoderLayer =
    dense(e, 3 * e) +
    dense(e, e) +
    dense(e, e) +
    dense(e, 2 * e) +
    dense(e, e) +
    feedForward(decoderWidth) +
    3 * norm;
  const targetEmbeddings = config.decEmbeddings === 'sinusoidal' ? v * e + v : 0;
  const heads = dense(e, e) + norm + v + dense(e, 3) + dense(e, e);
  return (
    embeddings +
    config.numHiddenLayers * encoderLayer +
    (config.preLn ? norm : 0) +
    heads +
    (config.decHiddenLayers > 0 ? config.decHiddenLayers * decoderLayer + norm + targetEmbeddings : 0)
  );
}
