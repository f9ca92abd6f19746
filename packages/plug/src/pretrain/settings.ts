// The settings of one pre-training stage: one strict schema for the API, the config file and the flags.
import { z } from 'zod';
import { sizeNames } from '../model/index.js';
import { trainingFields } from '../train/index.js';

export const pretrainSchema = z.strictObject({
  ...trainingFields,
  corpus: z.string().describe('token corpus: a folder with train/ and heldOut/, made by `plug corpus build`'),
  tokenizer: z.string().describe('folder with vocab.txt, or a vocab.txt, that the corpus was made with'),
  stage: z.int().min(1).max(2).default(1).describe('1: StructBERT encoder; 2: encoder-decoder'),
  init: z
    .string()
    .optional()
    .describe(
      'model folder or run to start from: it goes on learning, on other text for example; stage 2 adds a decoder to a model of stage 1',
    ),
  size: z.enum(sizeNames).default('tiny').describe('model size; with --init, of the decoder that is added'),
  maxPositions: z.int().min(8).default(514).describe('longest text in tokens, special tokens included'),
  initializerRange: z.number().positive().default(0.00707).describe('standard deviation of initial weights'),
  dropout: z.number().min(0).lt(1).default(0.1).describe('dropout on hidden states and attention'),
  totalSteps: z.int().min(1).default(10_000).describe('optimiser steps of the stage'),
  tokensPerBatch: z.int().min(16).default(8192).describe('tokens (source + target) of a micro-batch at most'),
  maxLength: z.int().min(8).default(512).describe('stage 1: longest sequence, special tokens included'),
  minSideLength: z.int().min(1).default(32).describe('stage 2: shortest source and target, in text tokens'),
  maxSideLength: z.int().min(1).default(512).describe('stage 2: longest source and target, in text tokens'),
  fullSentenceProbability: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('stage 2: share of sources that end with a sentence (published code: 0.3)'),
  mlmFraction: z
    .number()
    .min(0)
    .max(1)
    .default(0.9)
    .describe('stage 2: share of the steps with the masked-LM loss'),
  learningRate: z.number().positive().default(1e-4).describe('peak learning rate'),
  warmupFraction: z.number().min(0).max(1).default(0.01).describe('share of the steps with a rising rate'),
  evaluateEvery: z
    .int()
    .min(0)
    .default(500)
    .describe('steps between evaluations on held-out text; 0: at the end only'),
  evaluationBatches: z.int().min(1).default(16).describe('held-out batches that an evaluation reads'),
  keepLast: z.int().min(1).default(2).describe('checkpoints kept'),
});

/** Resolved settings of a stage. */
export type PretrainSettings = z.infer<typeof pretrainSchema>;
