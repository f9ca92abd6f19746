// Hugging Face's BERT (and StructBERT, which is laid out like it) as an encoder of ours: post-LN, without a decoder.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError } from '../../errors.js';
import type { PlugConfig } from '../../model/index.js';
import { loadTokenizer } from '../../text/index.js';

import { companionsIn, tokenizerFilesAmong } from '../open-model.js';
import type { OpenedModel } from '../tensor-source.js';

import { parseBertConfig } from './bert-config.js';
import { findPrefixes } from './bert-layout.js';
import { gatherBert } from './bert-parts.js';
import { readJsonObject } from './config-file.js';
import { GatheredTensors, parametersFor } from './gathered.js';
import { openHuggingFaceWeights } from './weights.js';

/** Heads of fine-tuned models. */
const foreign = /(^|\.)(classifier|qa_outputs)\./;

/**
 * Opens a folder with config.json, weights and vocab.txt of a BERT. It becomes an encoder that can be fine-tuned or
 * start stage 2. Heads that it lacks start anew. So does a sentence head of two classes: BERT's "is this the next
 * sentence" is asked of a pooled state (a dense layer with tanh), StructBERT's three classes of the first token's state.
 * @throws ConfigError naming a field of config.json that asks for something else
 * @throws CheckpointError naming the tensor that is missing, misshapen or unknown
 */
export function openBert(folder: string): OpenedModel {
  const configPath = join(folder, 'config.json');
  const { config: given, notes: configNotes } = parseBertConfig(readJsonObject(configPath), configPath);
  const filesBeside = tokenizerFilesAmong(companionsIn(folder));
  const { config, notes: vocabularyNotes } = withVocabulary(given, folder);
  const weights = openHuggingFaceWeights(folder);
  try {
    const prefixes = findPrefixes(weights);
    if (!prefixes)
      throw new CheckpointError(
        `${weights.path} holds no BERT: one "…embeddings.word_embeddings.weight" is needed.`,
      );
    const gathered = new GatheredTensors(weights);
    const notes = gatherBert(gathered, weights, prefixes, parametersFor(config, weights));
    const unknown = gathered.unused();
    const left = unknown.filter((name) => foreign.test(name));
    if (left.length > 0) notes.push(`Left out, heads of a task: ${left.join(', ')}.`);
    const wrong = unknown.find((name) => !left.includes(name));
    if (wrong !== undefined)
      throw new CheckpointError(
        `${weights.path}: tensor "${wrong}" belongs to no part of the BERT that config.json describes.`,
      );
    return {
      kind: `Hugging Face BERT, ${config.numHiddenLayers} layers of ${config.hiddenSize}, post-LN`,
      config,
      weights: gathered.source(),
      filesBeside,
      notes: [...configNotes, ...vocabularyNotes, ...notes],
      [Symbol.dispose]: () => weights[Symbol.dispose](),
    };
  } catch (error) {
    weights[Symbol.dispose]();
    throw error;
  }
}

/** The configuration with as many real entries as vocab.txt has. @throws CheckpointError when it has too many */
export function withVocabulary(
  config: PlugConfig,
  folder: string,
): { config: PlugConfig; notes: readonly string[] } {
  if (!existsSync(join(folder, 'vocab.txt')))
    return {
      config,
      notes: [`${folder} has no vocab.txt: put the model's own beside the weights before it is used.`],
    };
  const { vocabSize } = loadTokenizer(folder);
  if (vocabSize > config.vocabSize)
    throw new CheckpointError(
      `${join(folder, 'vocab.txt')} has ${vocabSize} entries, but the model ${config.vocabSize} rows of embeddings.`,
    );
  return { config: { ...config, originalVocabSize: vocabSize }, notes: [] };
}
