// Hugging Face's BERT (and StructBERT, which is laid out like it) as an encoder of ours: post-LN, without a decoder.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, ConfigError } from '../../errors.js';
import { listParameters, type ParameterInfo, type PlugConfig } from '../../model/index.js';
import { loadTokenizer } from '../../text/index.js';
import { companionsIn } from '../open-model.js';
import type { OpenedModel, TensorSource } from '../tensor-source.js';
import { parseBertConfig } from './bert-config.js';
import { type BertPrefixes, bertNames, findPrefixes, nameInFile } from './bert-layout.js';
import { GatheredTensors } from './gathered.js';
import { openHuggingFaceWeights } from './weights.js';

/** Parts that a file may lack: those that go with a pre-training task. */
const optionalParts = {
  'bert.pooler.': 'the pooler (which OpenPLUG does not use)',
  'cls.predictions.': 'the masked-LM head',
  'cls.seq_relationship.': 'the head of the sentence relation',
};

/** Heads of fine-tuned models, and buffers. */
const foreign = /(^|\.)(classifier|qa_outputs)\./;
const buffers = /(^|\.)embeddings\.(position_ids|token_type_ids)$/;

/**
 * Opens a folder with config.json, weights and vocab.txt of a BERT. It becomes an encoder that can be fine-tuned or
 * start stage 2. Heads that it lacks start anew. So does a sentence head of two classes: BERT's "is this the next
 * sentence" is asked of a pooled state (a dense layer with tanh), StructBERT's three classes of the first token's state.
 * @throws ConfigError naming a field of config.json that asks for something else
 * @throws CheckpointError naming the tensor that is missing, misshapen or unknown
 */
export function openBert(folder: string): OpenedModel {
  const { config: given, notes: configNotes } = readBertConfig(join(folder, 'config.json'));
  const filesBeside = companionsIn(folder);
  const { config, notes: vocabularyNotes } = withVocabulary(given, folder);
  const weights = openHuggingFaceWeights(folder);
  try {
    const prefixes = findPrefixes(weights);
    if (!prefixes)
      throw new CheckpointError(
        `${weights.path} holds no BERT: one "…embeddings.word_embeddings.weight" is needed.`,
      );
    const gathered = new GatheredTensors(weights);
    const notes = gatherBert(gathered, weights, prefixes, listParameters(config));
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

/** Reads and checks a BERT's `config.json`. @throws ConfigError */
export function readBertConfig(path: string): ReturnType<typeof parseBertConfig> {
  return parseBertConfig(readJsonObject(path), path);
}

/** @throws ConfigError when the file cannot be read, or is no JSON object */
export function readJsonObject(path: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${path} cannot be read as JSON: ${(error as Error).message}.`, { cause: error });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new ConfigError(`${path}: expected a JSON object with the model's configuration.`);
  return json as Record<string, unknown>;
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

/**
 * Adds the parameters of an encoder, `parameters`, to `gathered`.
 * @returns notes on what starts anew
 */
export function gatherBert(
  gathered: GatheredTensors,
  weights: TensorSource,
  prefixes: BertPrefixes,
  parameters: readonly ParameterInfo[],
): string[] {
  const actual = (name: string): string => nameInFile(weights, prefixes, name);
  const namesOf = ({ name }: ParameterInfo): string[] => bertNames(name).map(actual);
  for (const name of weights.names().filter((tensor) => buffers.test(tensor))) gathered.leaveOut(name);
  const wordEmbedding = 'bert.embeddings.word_embeddings.weight';
  const biasCopy = actual('cls.predictions.decoder.bias');
  const notes: string[] = [];
  const partOf = (name: string) => Object.entries(optionalParts).find(([prefix]) => name.startsWith(prefix));

  for (const parameter of parameters)
    if (!partOf(parameter.name)) gathered.stack(parameter, namesOf(parameter));
  for (const [prefix, description] of Object.entries(optionalParts)) {
    const part = parameters.filter(({ name }) => name.startsWith(prefix));
    const isThere = part.some((parameter) => namesOf(parameter).some((name) => weights.has(name)));
    const hasTwoClasses =
      prefix === 'cls.seq_relationship.' && isThere && isNextSentenceHead(weights, actual);
    for (const parameter of part) {
      const [name] = namesOf(parameter);
      if (!isThere || hasTwoClasses) gathered.startAnew(parameter, wordEmbedding);
      else gathered.stack(parameter, [weights.has(name!) || !isMaskedLmBias(parameter) ? name! : biasCopy]);
      if (hasTwoClasses) gathered.leaveOut(name!);
    }
    if (hasTwoClasses)
      notes.push(
        `${capitalised(description)} starts anew: the file has BERT's two classes of a pooled state, not StructBERT's three.`,
      );
    else if (isThere && prefix === 'cls.seq_relationship.')
      notes.push("The sentence head's three classes are taken as StructBERT's, of the first token's state.");
    else if (!isThere) notes.push(`${capitalised(description)} is not in the file and starts anew.`);
  }
  gathered.tied(actual('cls.predictions.decoder.weight'), actual(wordEmbedding));
  if (weights.has(actual('cls.predictions.bias'))) gathered.tied(biasCopy, actual('cls.predictions.bias'));
  return notes;
}

function isMaskedLmBias({ name }: ParameterInfo): boolean {
  return name === 'cls.predictions.bias';
}

function isNextSentenceHead(weights: TensorSource, actual: (name: string) => string): boolean {
  return ['weight', 'bias'].every((kind) => {
    const name = actual(`cls.seq_relationship.${kind}`);
    return weights.has(name) && weights.info(name).shape[0] === 2;
  });
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
