// The settings of a fine-tuning run: one strict schema for the API, the config file and the flags.
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import type { PlugConfig } from '../model/index.js';
import { trainingFields } from '../train/index.js';
import type { FinetuneTask } from './task.js';

export const finetuneSchema = z.strictObject({
  ...trainingFields,
  model: z.string().describe('model folder or run to start from'),
  fromScratch: z
    .boolean()
    .default(false)
    .describe('random weights in the shape of --model: the baseline without pre-training'),
  initialHead: z
    .enum(['new', 'sentence'])
    .default('new')
    .describe('classification: a new head, or rows of the pre-trained sentence head (task.sentenceClasses)'),
  epochs: z
    .int()
    .min(1)
    .optional()
    .describe("passes over the training examples; default: the task's, else 3"),
  maxSteps: z.int().min(1).optional().describe('at most this many optimiser steps, for a bound on time'),
  tokensPerBatch: z
    .int()
    .min(16)
    .default(2048)
    .describe(
      'tokens (source + target) of a micro-batch at most; less, and more of them a step, where memory is short',
    ),
  maxLength: z
    .int()
    .min(4)
    .optional()
    .describe(
      "longest input in tokens, special ones included; default: the task's, else 512, within the model's",
    ),
  maxTargetLength: z
    .int()
    .min(2)
    .optional()
    .describe("generation: longest target in tokens; default: the task's, else 128, within the model's"),
  learningRate: z
    .number()
    .positive()
    .optional()
    .describe(
      'peak learning rate; default: 5e-5 × 768 / hidden size, as BERT base and its small versions take',
    ),
  warmupFraction: z.number().min(0).max(1).default(0.0333).describe('share of the steps with a rising rate'),
  dropout: z
    .number()
    .min(0)
    .lt(1)
    .optional()
    .describe("on hidden states and attention; default: the model's own"),
  loraRank: z
    .int()
    .min(0)
    .default(0)
    .describe('train adapters of this width beside the frozen model (LoRA): half the memory; 0: train all'),
  loraAlpha: z
    .number()
    .positive()
    .optional()
    .describe('adapters are scaled by this over their rank; default: 2 × rank'),
  loraDropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("share of the adapters' inputs that is dropped in training, 0.05 to 0.1 is usual; 0: none"),
  loraTargets: z
    .array(z.string())
    .default([])
    .describe('ends of the names of adapted layers, query_key_value for example; default: all linear layers'),
  loraSave: z
    .enum(['merged', 'adapter'])
    .default('merged')
    .describe("the finished model: whole, or adapter files in PEFT's layout that need --model beside them"),
  promptTokens: z
    .int()
    .min(0)
    .default(0)
    .describe(
      'generation: this many trained vectors in front of every source (P-tuning), 20 is usual; 0: none',
    ),
  promptOnly: z
    .boolean()
    .default(false)
    .describe('train the prompt vectors alone, on a frozen model (prompt tuning)'),
  headOnly: z.boolean().default(false).describe("train the task's own layer alone, on a frozen encoder"),
  layerDecay: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .describe('each encoder layer learns this much slower than the one above it; 1: all alike'),
  labelSmoothing: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe('classification: share of the target that is spread over all labels'),
  rDrop: z
    .number()
    .min(0)
    .default(0)
    .describe(
      'classification: weight of the divergence of two passes with different dropout (R-Drop); 0: off',
    ),
  adversarial: z
    .number()
    .min(0)
    .default(0)
    .describe(
      'each batch again with the word embeddings moved this far against it (FGM), 1 is usual; 0: off',
    ),
  averageDecay: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe('evaluate and keep a moving average of the weights (EMA), 0.99 is usual; 0: off'),
  evaluateEvery: z
    .int()
    .min(0)
    .default(0)
    .describe('steps between evaluations on dev; 0: at the end of each epoch'),
  patience: z
    .int()
    .min(0)
    .default(3)
    .describe('stop after this many evaluations without a new best; 0: never'),
  keepLast: z.int().min(1).default(1).describe('checkpoints kept'),
});

/** Settings as given: what has a default may be left out. */
export type FinetuneSettings = z.input<typeof finetuneSchema>;

/** Settings with the task's and the model's own defaults put in. */
export type ResolvedFinetuneSettings = z.output<typeof finetuneSchema> & {
  epochs: number;
  learningRate: number;
  maxLength: number;
  maxTargetLength: number;
  loraAlpha: number;
};

/** @throws ConfigError for a value out of range, or a length past the model's window */
export function resolveFinetuneSettings(
  given: FinetuneSettings,
  task: FinetuneTask,
  config: PlugConfig,
): ResolvedFinetuneSettings {
  const checked = finetuneSchema.safeParse(given);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw new ConfigError(`Fine-tuning settings: ${issue?.path.join('.')}: ${issue?.message}.`);
  }
  const settings = checked.data;
  checkMethods(settings, task);
  checkPrompt(settings, task);
  const { defaults = {} } = task;
  const window = config.maxPositionEmbeddings;
  for (const name of ['maxLength', 'maxTargetLength'] as const)
    if ((settings[name] ?? 0) > window)
      throw new ConfigError(`${name} is ${settings[name]}, but the model has ${window} positions.`);
  const maxLength =
    settings.maxLength ?? Math.min((defaults.maxLength ?? 512) + settings.promptTokens, window);
  if (maxLength < settings.promptTokens + 3)
    throw new ConfigError(
      `maxLength is ${maxLength}, of which ${settings.promptTokens} prompt vectors, [CLS] and [SEP] leave nothing for a text.`,
    );
  return {
    ...settings,
    epochs: settings.epochs ?? defaults.epochs ?? 3,
    learningRate: settings.learningRate ?? defaults.learningRate ?? defaultLearningRate(config, settings),
    loraAlpha: settings.loraAlpha ?? 2 * settings.loraRank,
    maxLength,
    maxTargetLength: settings.maxTargetLength ?? Math.min(defaults.maxTargetLength ?? 128, window),
  };
}

/** @throws ConfigError for prompt vectors where there is no place for them */
function checkPrompt(settings: z.output<typeof finetuneSchema>, { name, kind }: FinetuneTask): void {
  const { promptTokens, promptOnly, loraRank, headOnly, fromScratch } = settings;
  if (promptOnly && promptTokens === 0)
    throw new ConfigError('promptOnly trains prompt vectors: say with promptTokens how many there are.');
  if (promptTokens > 0 && kind !== 'generation')
    throw new ConfigError(
      `promptTokens is for generation and few shots, but the task ${name} is ${kind}: its words are trained by plug evaluate --shots.`,
    );
  if (promptTokens > 0 && (loraRank > 0 || headOnly))
    throw new ConfigError(
      'promptTokens trains with all of the model, or alone with promptOnly: leave out loraRank.',
    );
  if (promptOnly && (fromScratch || settings.adversarial > 0))
    throw new ConfigError('promptOnly freezes the model: leave out fromScratch and adversarial.');
}

/** @throws ConfigError for what contradicts each other, or the kind of task */
function checkMethods(settings: z.output<typeof finetuneSchema>, { name, kind }: FinetuneTask): void {
  const { loraRank, headOnly, fromScratch, labelSmoothing, rDrop, initialHead } = settings;
  if (settings.loraDropout > 0 && loraRank === 0)
    throw new ConfigError('loraDropout is of adapters: say with loraRank how wide they are.');
  if (headOnly && loraRank > 0)
    throw new ConfigError('headOnly trains no adapters: leave it out, or loraRank.');
  if (headOnly && kind === 'generation')
    throw new ConfigError(
      `headOnly: the task ${name} is generation and has no layer of its own. Use loraRank.`,
    );
  if (fromScratch && (headOnly || loraRank > 0))
    throw new ConfigError('fromScratch has nothing to adapt: leave out headOnly and loraRank.');
  if (settings.adversarial > 0 && (headOnly || loraRank > 0))
    throw new ConfigError('adversarial moves word embeddings, which are frozen with headOnly and loraRank.');
  if (kind !== 'classification' && (labelSmoothing > 0 || rDrop > 0 || initialHead === 'sentence'))
    throw new ConfigError(
      `labelSmoothing, rDrop and initialHead "sentence" are for classification, but the task ${name} is ${kind}.`,
    );
}

/**
 * 5e-5 at hidden size 768 (Devlin et al. 2019 used 2e-5 to 5e-5) and in inverse proportion to the width: 3e-4 at
 * 128 and 1.5e-4 at 256, within the grid that Turc et al. 2019 (arXiv 1908.08962) searched for small BERTs.
 */
function defaultLearningRate(
  { hiddenSize }: PlugConfig,
  { loraRank, headOnly, promptOnly }: z.output<typeof finetuneSchema>,
): number {
  // Adapters start at zero and take about ten times the rate (Hu et al. 2021, table D.9); so do a head or prompt alone.
  const factor = loraRank > 0 || headOnly || promptOnly ? 10 : 1;
  return Number(((factor * 5e-5 * 768) / hiddenSize).toPrecision(3));
}
