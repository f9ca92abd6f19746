// Scores of a model on the held-out split of a token corpus, as pre-training measures them.
import { join } from 'node:path';
import type { DType } from '@openplug/torch';
import { loadModel, readStoredPrecision } from '../checkpoint/index.js';
import { openTokenCorpus, vocabularySha256 } from '../corpus/index.js';
import { ConfigError } from '../errors.js';
import { charactersOf, type ObjectiveSettings, stage1Objective, stage2Objective } from '../pretrain/index.js';
import {
  createStage1Sampler,
  createStage2Sampler,
  type Stage1Sampler,
  type Stage2Sampler,
} from '../pretrain/samples/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';

// The seed that pre-training gives its held-out samples, so that the figures can be compared.
const seed = 0;

export interface CorpusEvaluationSettings {
  computeDType: DType;
  tokensPerBatch: number;
  batches: number;
  maxLength: number;
  minSideLength: number;
  maxSideLength: number;
}

/** Scores by name; the decoder's are absent from an encoder-only model. */
export interface CorpusScores {
  encoder: Record<string, number>;
  decoder?: Record<string, number>;
}

/** A split of a corpus, with what makes samples of it for a model of `window` positions. */
export interface CorpusSplit extends Disposable {
  readonly tokenizer: Tokenizer;
  readonly batching: ObjectiveSettings;
  pairs(window: number): Stage1Sampler;
  cuts(window: number): Stage2Sampler;
}

/**
 * Opens a split with the vocabulary of the model in `folder`.
 * @param split default: what was held out of training
 * @throws ConfigError when the corpus was made with another vocabulary, CorpusError when it cannot be read
 */
export function openSplit(
  folder: string,
  corpusFolder: string,
  settings: Omit<CorpusEvaluationSettings, 'computeDType'>,
  split: 'train' | 'heldOut' = 'heldOut',
): CorpusSplit {
  const tokenizer = loadTokenizer(folder);
  const path = join(corpusFolder, split);
  const corpus = openTokenCorpus(path);
  try {
    const made = corpus.index.vocabularySha256;
    if (made !== undefined && made !== vocabularySha256(tokenizer))
      throw new ConfigError(`${path} was made with another vocabulary than that of ${folder}.`);
    if (corpus.numDocuments === 0) throw new ConfigError(`${path} holds no document.`);
  } catch (error) {
    corpus.close();
    throw error;
  }
  const { tokensPerBatch, batches: evaluationBatches, maxLength, minSideLength, maxSideLength } = settings;
  return {
    tokenizer,
    batching: { seed, tokensPerBatch, evaluationBatches },
    pairs: (window) =>
      createStage1Sampler(corpus, tokenizer, { seed, maxLength: Math.min(maxLength, window) }),
    cuts(window) {
      const lengths = { minLength: minSideLength, maxLength: Math.min(maxSideLength, window - 2) };
      return createStage2Sampler(corpus, tokenizer, { seed, ...lengths });
    },
    [Symbol.dispose]: () => corpus.close(),
  };
}

/** @throws as `openSplit`, and ConfigError or CheckpointError when the model cannot be loaded */
export function evaluateOnCorpus(
  folder: string,
  corpusFolder: string,
  settings: CorpusEvaluationSettings,
): CorpusScores {
  using heldOut = openSplit(folder, corpusFolder, settings);
  using model = loadModel(folder, { precision: readStoredPrecision(folder) });
  const { maxPositionEmbeddings: window, decHiddenLayers } = model.config;
  const options = model.precision ? model.inference : { computeDType: settings.computeDType };
  const { tokenizer, batching } = heldOut;
  const pairs = heldOut.pairs(window);
  const encoder = stage1Objective(model, pairs, pairs, batching).evaluate(options);
  if (decHiddenLayers === 0) return { encoder };
  const cuts = heldOut.cuts(window);
  const both = { ...batching, mlmUntilStep: 0 };
  const decoder = stage2Objective(model, cuts, cuts, both, charactersOf(tokenizer)).evaluate(options);
  return { encoder, decoder };
}
