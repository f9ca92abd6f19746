// One pre-training stage from settings to a finished run folder.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type DType, hasFastBFloat16, setNumThreads } from '@openplug/torch';
import { loadModel, readModelConfig, resolveModelFolder, saveModel } from '../checkpoint/index.js';
import { type MappedTokenCorpus, openTokenCorpus, vocabularySha256 } from '../corpus/index.js';
import { ConfigError } from '../errors.js';
import {
  choosingParameters,
  newParameters,
  type PlugConfig,
  PlugModel,
  plugConfigOfSize,
  storedParameters,
} from '../model/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';
import { RunFolder, type TrainingListener, type TrainingObjective, train } from '../train/index.js';
import { continuationWriter } from './continuations.js';
import { stage1Objective, stage2Objective } from './objectives.js';
import { createStage1Sampler, createStage2Sampler, type Stage2Sampler } from './samples/index.js';
import type { PretrainSettings } from './settings.js';

/** What a stage ends with. */
export interface PretrainResult {
  /** False when it was interrupted; the run folder continues it. */
  finished: boolean;
  step: number;
  /** Folder of the finished model, with its tokenizer. */
  model: string | undefined;
  /** Last held-out scores. */
  scores: Record<string, number>;
}

/**
 * Runs, or continues, one stage.
 * @throws ConfigError when the settings contradict each other, the corpus, or the run that is in the folder
 */
export async function pretrain(
  settings: PretrainSettings,
  listener: TrainingListener = {},
  signal?: AbortSignal,
): Promise<PretrainResult> {
  checkSettings(settings);
  const threads = settings.threads ?? availableParallelism();
  const computeDType = chooseDType(settings.dtype);
  const tokenizer = loadTokenizer(settings.tokenizer);
  using trainCorpus = openSplit(settings.corpus, 'train', tokenizer);
  using heldOut = openSplit(settings.corpus, 'heldOut', tokenizer);
  const folder = new RunFolder(settings.out);
  // `auto` and the default thread count are recorded as what they meant: a continued run must compute the same.
  folder.claimSettings({ kind: 'pretrain', ...settings, dtype: computeDType, threads });
  setNumThreads(threads);
  using model = startModel(settings, tokenizer);
  const objective = makeObjective(settings, model, tokenizer, trainCorpus.corpus, heldOut.corpus);
  const writeContinuations =
    settings.stage === 2 && heldOut.corpus.numDocuments > 0
      ? continuationWriter(model, tokenizer, heldOutStage2(settings, tokenizer, heldOut.corpus), {
          computeDType,
        })
      : undefined;
  const switchStep = mlmUntilStep(settings);
  // A checkpoint of an unfinished run can be used as a model, too.
  const save = (path: string): void => {
    saveModel(path, model);
    tokenizer.save(path);
  };
  const result = await train(
    { parameters: model.parameters, save },
    objective,
    {
      ...settings,
      computeDType,
      // The scores right before the masked LM is dropped, to set beside those at the end.
      evaluateAt: settings.stage === 2 && switchStep > 0 ? [switchStep] : [],
    },
    folder,
    {
      ...listener,
      onEvaluate(line) {
        if (writeContinuations) folder.recordSamples({ step: line.step, samples: writeContinuations() });
        listener.onEvaluate?.(line);
      },
    },
    signal,
  );
  if (!result.finished) return { ...result, model: undefined, scores: {} };
  const modelFolder = folder.writeModel(save);
  const {
    kind: _kind,
    step: _step,
    ...scores
  } = folder.metrics().findLast((line) => line.kind === 'evaluate') ?? {};
  return { ...result, model: modelFolder, scores: scores as Record<string, number> };
}

/** Last step of stage 2 that has the masked-LM loss. */
export function mlmUntilStep(settings: Pick<PretrainSettings, 'mlmFraction' | 'totalSteps'>): number {
  return Math.floor(settings.mlmFraction * settings.totalSteps);
}

/** The dtype that a `--dtype` stands for on this machine. */
export function chooseDType(dtype: PretrainSettings['dtype']): DType {
  if (dtype !== 'auto') return dtype;
  return hasFastBFloat16() ? 'bfloat16' : 'float32';
}

function checkSettings(settings: PretrainSettings): void {
  const { stage, maxPositions, maxLength, maxSideLength, minSideLength } = settings;
  const longest = stage === 1 ? maxLength : maxSideLength + 2;
  if (longest > maxPositions)
    throw new ConfigError(
      `Texts can have ${longest} tokens (${stage === 1 ? 'maxLength' : 'maxSideLength + 2 special tokens'}), but maxPositions is ${maxPositions}. Raise it, or shorten the texts.`,
    );
  if (minSideLength > maxSideLength)
    throw new ConfigError(
      `minSideLength (${minSideLength}) is larger than maxSideLength (${maxSideLength}).`,
    );
}

interface OpenSplit extends Disposable {
  corpus: MappedTokenCorpus;
}

function openSplit(folder: string, split: 'train' | 'heldOut', tokenizer: Tokenizer): OpenSplit {
  const path = join(folder, split);
  const corpus = openTokenCorpus(path);
  const [made, given] = [corpus.index.vocabularySha256, vocabularySha256(tokenizer)];
  if (made !== undefined && made !== given)
    throw new ConfigError(
      `${path} was made with another vocabulary than this tokenizer's. Give the one it was made with.`,
    );
  return { corpus, [Symbol.dispose]: () => corpus.close() };
}

function startModel(settings: PretrainSettings, tokenizer: Tokenizer): PlugModel {
  const changes: Partial<PlugConfig> = {
    maxPositionEmbeddings: settings.maxPositions,
    initializerRange: settings.initializerRange,
    hiddenDropoutProb: settings.dropout,
    attentionProbsDropoutProb: settings.dropout,
  };
  const config = plugConfigOfSize(settings.size, tokenizer.vocabSize, changes);
  const decoderLess = settings.stage === 1 ? { decHiddenLayers: 0 } : {};
  const fresh = newParameters(settings.seed);
  if (settings.init === undefined) return new PlugModel({ ...config, ...decoderLess }, fresh);
  const folder = resolveModelFolder(settings.init);
  const start = readModelConfig(folder);
  checkStart(folder, start, settings, tokenizer);
  const { hiddenDropoutProb, attentionProbsDropoutProb } = config;
  const dropout = { hiddenDropoutProb, attentionProbsDropoutProb };
  // What is there already goes on learning; stage 2 adds the decoder that a model of stage 1 lacks.
  if (settings.stage === 1 || start.decHiddenLayers > 0)
    return loadModel(folder, { encoderOnly: settings.stage === 1, changes: dropout });
  using encoder = loadModel(folder);
  const combined = { ...encoder.config, decHiddenLayers: config.decHiddenLayers, ...dropout };
  const stored = {
    has: (name: string) => encoder.parameters.has(name),
    tensor: (name: string) => encoder.parameters.get(name)!.detach(),
  };
  return new PlugModel(combined, choosingParameters(['decoder.'], fresh, storedParameters(stored, folder)));
}

/** @throws ConfigError when the model to start from does not fit the texts or the tokenizer */
function checkStart(
  folder: string,
  { maxPositionEmbeddings, originalVocabSize }: PlugConfig,
  { stage, maxLength, maxSideLength }: PretrainSettings,
  tokenizer: Tokenizer,
): void {
  const [longest, setting, room] =
    stage === 1
      ? [maxLength, 'maxLength', maxPositionEmbeddings]
      : [maxSideLength + 2, 'maxSideLength', maxPositionEmbeddings - 2];
  if (longest > maxPositionEmbeddings)
    throw new ConfigError(
      `Texts can have ${longest} tokens${stage === 1 ? '' : ' (maxSideLength + 2 special tokens)'}, but the model in ${folder} ` +
        `has ${maxPositionEmbeddings} positions. Set ${setting} to ${room} or less.`,
    );
  if (originalVocabSize !== tokenizer.vocabSize)
    throw new ConfigError(
      `${folder} has ${originalVocabSize} vocabulary entries, the tokenizer ${tokenizer.vocabSize}.`,
    );
}

/** Held-out samples are keyed apart, so that they stay the same whatever the seed of training. */
const heldOutSeed = 0;

function makeObjective(
  settings: PretrainSettings,
  model: PlugModel,
  tokenizer: Tokenizer,
  corpus: MappedTokenCorpus,
  heldOut: MappedTokenCorpus,
): TrainingObjective {
  const empty = heldOut.numDocuments === 0;
  if (settings.stage === 1) {
    const sampler = (of: MappedTokenCorpus, seed: number) =>
      createStage1Sampler(of, tokenizer, { seed, maxLength: settings.maxLength });
    return stage1Objective(
      model,
      sampler(corpus, settings.seed),
      empty ? undefined : sampler(heldOut, heldOutSeed),
      settings,
    );
  }
  return stage2Objective(
    model,
    stage2Sampler(settings, tokenizer, corpus, settings.seed),
    empty ? undefined : heldOutStage2(settings, tokenizer, heldOut),
    { ...settings, mlmUntilStep: mlmUntilStep(settings) },
    charactersOf(tokenizer),
  );
}

function stage2Sampler(
  { minSideLength, maxSideLength, fullSentenceProbability }: PretrainSettings,
  tokenizer: Tokenizer,
  corpus: MappedTokenCorpus,
  seed: number,
): Stage2Sampler {
  const lengths = { minLength: minSideLength, maxLength: maxSideLength, fullSentenceProbability };
  return createStage2Sampler(corpus, tokenizer, { seed, ...lengths });
}

function heldOutStage2(
  settings: PretrainSettings,
  tokenizer: Tokenizer,
  corpus: MappedTokenCorpus,
): Stage2Sampler {
  return stage2Sampler(settings, tokenizer, corpus, heldOutSeed);
}

/** Characters that each token stands for: its own without a leading ##; one for unknown characters. */
export function charactersOf(tokenizer: Tokenizer): (id: number) => number {
  const counts = Array.from({ length: tokenizer.vocabSize }, (_, id) => {
    const token = tokenizer.idToToken(id);
    return token.startsWith('[') && token.endsWith(']') && token.length > 2
      ? 1
      : [...token.replace(/^##/, '')].length;
  });
  return (id) => counts[id] ?? 1;
}

/** Whether a run folder holds a finished stage. */
export function isFinished(out: string): boolean {
  return existsSync(join(out, 'model', 'model.safetensors'));
}
