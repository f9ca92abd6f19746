// Scores of a model on the held-out split of a token corpus, as pre-training measures them.
import { join } from 'node:path';
import type { DType } from '@openplug/torch';
import { loadModel, readStoredPrecision } from '../checkpoint/index.js';
import { openTokenCorpus, vocabularySha256 } from '../corpus/index.js';
import { ConfigError } from '../errors.js';
import { charactersOf, stage1Objective, stage2Objective } from '../pretrain/index.js';
import { createStage1Sampler, createStage2Sampler } from '../pretrain/samples/index.js';
import { loadTokenizer } from '../text/index.js';

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

/** @throws ConfigError when the corpus was made with another vocabulary, CorpusError when it cannot be read */
export function evaluateOnCorpus(
  folder: string,
  corpusFolder: string,
  settings: CorpusEvaluationSettings,
): CorpusScores {
  const tokenizer = loadTokenizer(folder);
  const path = join(corpusFolder, 'heldOut');
  const corpus = openTokenCorpus(path);
  try {
    const made = corpus.index.vocabularySha256;
    if (made !== undefined && made !== vocabularySha256(tokenizer))
      throw new ConfigError(`${path} was made with another vocabulary than that of ${folder}.`);
    if (corpus.numDocuments === 0) throw new ConfigError(`${path} holds no document to score.`);
    using model = loadModel(folder, { precision: readStoredPrecision(folder) });
    const { maxPositionEmbeddings: window, decHiddenLayers } = model.config;
    const options = model.precision ? model.inference : { computeDType: settings.computeDType };
    const batching = { seed, tokensPerBatch: settings.tokensPerBatch, evaluationBatches: settings.batches };

    const maxLength = Math.min(settings.maxLength, window);
    const pairs = createStage1Sampler(corpus, tokenizer, { seed, maxLength });
    const encoder = stage1Objective(model, pairs, pairs, batching).evaluate(options);
    if (decHiddenLayers === 0) return { encoder };

    const lengths = {
      minLength: settings.minSideLength,
      maxLength: Math.min(settings.maxSideLength, window - 2),
    };
    const cuts = createStage2Sampler(corpus, tokenizer, { seed, ...lengths });
    const both = { ...batching, mlmUntilStep: 0 };
    const decoder = stage2Objective(model, cuts, cuts, both, charactersOf(tokenizer)).evaluate(options);
    return { encoder, decoder };
  } finally {
    corpus.close();
  }
}
