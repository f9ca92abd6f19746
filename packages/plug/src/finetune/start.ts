// The models that fine-tuning starts from.
import { noGrad, scope, tensor } from '@openplug/torch';
import { type LoadOptions, loadModel, readModelConfig } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import {
  frozenLayers,
  indexTensor,
  LoraLayers,
  newParameters,
  type ParameterSource,
  type PlugConfig,
  PlugModel,
  promptLayers,
  promptParameter,
  trainableLayers,
} from '../model/index.js';
import { chooseDType } from '../pretrain/index.js';
import { keyedRandom } from '../random.js';
import { loadTokenizer } from '../text/index.js';
import { PlugChooser } from './chooser.js';
import { PlugClassifier } from './classifier.js';
import { PlugGenerator } from './generator.js';
import type { ResolvedFinetuneSettings } from './settings.js';
import { PlugSpanReader } from './span-reader.js';
import {
  type ChoiceTask,
  type ClassificationTask,
  type FinetuneTask,
  type GenerationTask,
  type SpanTask,
  sentenceClasses,
} from './task.js';
import { checkVocabulary } from './task-file.js';

/** A task on the encoder of the model in `folder`; a decoder, if there is one, is left behind. */
export function startEncoderTask(
  folder: string,
  task: ClassificationTask | ChoiceTask | SpanTask,
  settings: ResolvedFinetuneSettings,
): PlugClassifier | PlugChooser | PlugSpanReader {
  const tokenizer = loadTokenizer(folder);
  const config = { ...readModelConfig(folder), decHiddenLayers: 0, ...changesOf(settings) };
  checkVocabulary(folder, tokenizer, config.originalVocabSize);
  const fresh = newParameters(settings.seed);
  const model = settings.fromScratch
    ? new PlugModel(config, fresh)
    : loadForTraining(folder, settings, { encoderOnly: true });
  const { maxLength } = settings;
  try {
    const head = settings.initialHead === 'sentence' ? sentenceRows(model, task) : fresh;
    switch (task.kind) {
      case 'classification':
        return new PlugClassifier({ model, tokenizer, task, maxLength, head });
      case 'choice':
        return new PlugChooser({ model, tokenizer, task, maxLength, head });
      case 'span':
        return new PlugSpanReader({ model, tokenizer, task, maxLength, head });
    }
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

/** A source → target model from the model in `folder`. */
export function startGenerator(
  folder: string,
  task: GenerationTask,
  settings: ResolvedFinetuneSettings,
): PlugGenerator {
  const tokenizer = loadTokenizer(folder);
  const model = settings.fromScratch
    ? new PlugModel({ ...readModelConfig(folder), ...changesOf(settings) }, newParameters(settings.seed))
    : loadForTraining(folder, settings, {});
  try {
    checkVocabulary(folder, tokenizer, model.config.originalVocabSize);
    return new PlugGenerator(model, tokenizer, task, settings);
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

/** All of the model, its adapters or prompt vectors, or nothing of it is to be trained. */
function loadForTraining(
  folder: string,
  settings: ResolvedFinetuneSettings,
  options: LoadOptions,
): PlugModel {
  const changes = changesOf(settings);
  if (settings.promptTokens > 0) return loadWithPrompt(folder, settings, changes);
  const { loraRank: rank, loraAlpha: alpha, loraTargets: targets, loraDropout: dropout } = settings;
  const { headOnly, seed } = settings;
  if (headOnly) return loadModel(folder, { ...options, changes, layers: frozenLayers });
  if (rank === 0) return loadModel(folder, { ...options, changes });
  const layers = new LoraLayers({ rank, alpha, targets, dropout, base: folder }, chooseDType(settings.dtype));
  const model = loadModel(folder, { ...options, changes, layers, adapters: newParameters(seed) });
  try {
    layers.checkTargets();
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
  return model;
}

/**
 * A model with prompt vectors. New ones start as the embeddings of words drawn from the vocabulary, from which they learn
 * faster than from noise (Lester et al. 2021, §3.2).
 */
function loadWithPrompt(
  folder: string,
  { promptOnly, promptTokens, seed }: ResolvedFinetuneSettings,
  changes: Partial<PlugConfig>,
): PlugModel {
  const { promptTokens: before, originalVocabSize } = readModelConfig(folder);
  if (before !== undefined && before !== promptTokens)
    throw new ConfigError(
      `${folder} has ${before} prompt vectors already, and promptTokens is ${promptTokens}: use ${before}, or another model.`,
    );
  const layers = promptOnly ? promptLayers : trainableLayers;
  const model = loadModel(folder, { changes, layers, adapters: newParameters(seed) });
  if (before !== undefined) return model;
  const random = keyedRandom(seed, promptKey);
  using drawn = indexTensor(
    Array.from({ length: promptTokens }, () => random.integer(0, originalVocabSize - 1)),
  );
  const words = model.parameters.get(wordEmbeddings)!;
  const vectors = model.parameters.get(promptParameter)!;
  noGrad(() => scope(() => vectors.copy_(words.indexSelect(0, drawn))));
  return model;
}

const promptKey = 0x9207;
const wordEmbeddings = 'bert.embeddings.word_embeddings.weight';

function changesOf({ dropout, promptTokens }: ResolvedFinetuneSettings): Partial<PlugConfig> {
  return {
    ...(dropout !== undefined && { hiddenDropoutProb: dropout, attentionProbsDropoutProb: dropout }),
    ...(promptTokens > 0 && { promptTokens }),
  };
}

/** The head as rows of `cls.seq_relationship`: those of the classes that the task's labels were in pre-training. */
function sentenceRows(model: PlugModel, task: FinetuneTask): ParameterSource {
  const classes = 'sentenceClasses' in task ? task.sentenceClasses : undefined;
  if (!classes)
    throw new ConfigError(
      `initialHead is "sentence", but the task ${task.name} has no sentenceClasses: name the pre-training class ` +
        `(${sentenceClasses.join(', ')}) of each label, or use a new head.`,
    );
  const rows = BigInt64Array.from(classes, (name) => BigInt(sentenceClasses.indexOf(name)));
  return {
    get(name) {
      const stored = model.parameters.get(name.replace('classifier.', 'cls.seq_relationship.'))!;
      using index = tensor(rows);
      return noGrad(() => stored.indexSelect(0, index));
    },
  };
}
