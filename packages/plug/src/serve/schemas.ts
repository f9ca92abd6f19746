// What requests may hold and what answers hold. Requests are checked by these, and the OpenAPI document is made of them.
import { z } from 'zod';
import { generationFields } from '../generate/index.js';

const model = z.string().optional().describe('a name of /v1/models; the first one if it is left out');
const stream = z.boolean().default(false).describe('answer token by token, as server-sent events');
const texts = (what: string) => z.union([z.string(), z.array(z.string()).min(1).max(256)]).describe(what);

/** Settings that OpenAI's two text endpoints share. */
const openAiSampling = {
  model,
  temperature: generationFields.temperature,
  top_p: generationFields.topP,
  top_k: generationFields.topK,
  repetition_penalty: generationFields.repetitionPenalty,
  n: z.int().min(1).max(16).default(1).describe('texts for each prompt'),
  seed: generationFields.seed
    .removeDefault()
    .optional()
    .describe('text i is drawn with seed + i; else by chance'),
  stop: z
    .union([z.string().min(1).max(64), z.array(z.string().min(1).max(64)).max(4)])
    .nullish()
    .describe('writing ends before the first of these'),
  stream,
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
  user: z.string().optional().describe('accepted and not used'),
  frequency_penalty: z.literal(0).nullish().describe('only 0; see repetition_penalty'),
  presence_penalty: z.literal(0).nullish().describe('only 0; see repetition_penalty'),
};

const maxTokens = generationFields.maxLength;

export const completionSchema = z.strictObject({
  ...openAiSampling,
  prompt: texts('what the texts continue'),
  max_tokens: maxTokens,
  logprobs: z.int().min(0).max(20).nullish().describe('tell so many most probable tokens at each place'),
  echo: z.boolean().default(false).describe('put the prompt in front of the text'),
});

export const chatSchema = z.strictObject({
  ...openAiSampling,
  messages: z
    .array(
      z.strictObject({
        role: z.enum(['system', 'developer', 'user', 'assistant']),
        content: z.string(),
        name: z.string().optional(),
      }),
    )
    .min(1)
    .max(256)
    .describe('one user message is continued as it is; see the guide for longer talks'),
  max_tokens: maxTokens.removeDefault().optional(),
  max_completion_tokens: maxTokens.removeDefault().optional(),
});

export const embeddingSchema = z.strictObject({
  model,
  input: texts('one vector is made of each'),
  encoding_format: z.enum(['float', 'base64']).default('float'),
  pooling: z.enum(['mean', 'first']).default('mean').describe('of all tokens’ states, or the first token’s'),
  user: z.string().optional().describe('accepted and not used'),
});

export const scoreSchema = z.strictObject({
  model,
  input: texts('texts to be labelled'),
  labels: z
    .array(z.string().min(1))
    .min(2)
    .max(64)
    .refine((labels) => new Set(labels).size === labels.length, 'two of the labels are the same')
    .describe('words or phrases to choose from'),
  source: z
    .string()
    .refine((source) => source.includes('{text}'), 'must hold {text}, which stands for the text')
    .optional()
    .describe('what the encoder reads, {text} standing for the text'),
  before: z.string().optional().describe('what stands in front of the label in the decoder'),
});

const classifierInput = z.union([z.string(), z.strictObject({ text: z.string(), textPair: z.string() })]);

export const classifySchema = z.strictObject({
  model: model.describe('a fine-tuned classifier; the first one if it is left out'),
  input: z
    .union([classifierInput, z.array(classifierInput).min(1).max(256)])
    .describe('texts, or for a classifier of pairs objects with text and textPair'),
});

const { beams: _b, lengthPenalty: _l, earlyStopping: _e, seed: _s, ...sampledFields } = generationFields;

export const generateSchema = z.strictObject({
  model,
  prompt: z.string().describe('what the texts continue; may be empty'),
  ...sampledFields,
  numCandidates: z.int().min(1).max(16).default(1).describe('texts to write'),
  seed: openAiSampling.seed,
  alternatives: z.int().min(0).max(20).default(0).describe('tell so many most probable tokens at each place'),
  stream,
});

/** A token with its probability. */
export const choiceSchema = z.object({ text: z.string(), tokenId: z.int(), logProbability: z.number() });

/** The answer of /v1/generate. */
export const generatedSchema = z.object({
  model: z.string(),
  seed: z.int(),
  notes: z.array(z.string()),
  texts: z.array(
    z.object({
      text: z.string(),
      finish: z.enum(['end', 'length']),
      logProbability: z.number(),
      tokens: z.array(choiceSchema.extend({ alternatives: z.array(choiceSchema).optional() })).optional(),
    }),
  ),
  usage: z.object({ promptTokens: z.int(), writtenTokens: z.int() }),
});

/** Events of a stream of /v1/generate: one to begin with, one for each token, one at the end. */
export const generateStartSchema = generatedSchema.pick({ model: true, seed: true, notes: true });
export const generateTokenSchema = choiceSchema.extend({
  candidate: z.int(),
  alternatives: z.array(choiceSchema).readonly().optional(),
  finish: z.enum(['end', 'length']).optional(),
});
export const generateUsageSchema = generatedSchema.pick({ usage: true });

/** The answer of /v1/score and /v1/classify: labels of each text, the most probable first. */
export const labelledSchema = z.object({
  model: z.string(),
  data: z.array(
    z.object({
      index: z.int(),
      labels: z.array(z.object({ label: z.string(), probability: z.number() })),
    }),
  ),
});

export const loadModelSchema = z.strictObject({
  folder: z
    .string()
    .min(1)
    .max(1024)
    .refine((folder) => !folder.includes('\0'), 'holds a null character')
    .describe('a finished run, as a path beneath the server’s folder of runs'),
  model: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'expected 1 to 64 letters, digits, "_", "." or "-"')
    .optional()
    .describe('a name for requests; the folder’s own if it is left out'),
});

export const unloadModelSchema = z.strictObject({
  model: z.string().describe('a model that was loaded from a run'),
});

/** A model as /v1/models tells of it. */
export const modelSchema = z.object({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
  loaded: z.boolean().describe('false: the first request has it loaded'),
  ready: z.boolean().describe('loaded, and its process is not being started again'),
  run: z.string().optional().describe('the run that it was loaded from; such a model can be unloaded'),
  positions: z.int(),
  hiddenSize: z.int(),
  precision: z.string(),
  canWrite: z.boolean(),
  maxRows: z.int(),
  maxNewTokens: z.int().describe('tokens that the server lets one text have'),
  labels: z.array(z.string()).optional(),
  takesPairs: z.boolean().optional(),
});

export const modelListSchema = z.object({ object: z.literal('list'), data: z.array(modelSchema) });

export const unloadedSchema = z.object({
  id: z.string(),
  object: z.literal('model'),
  unloaded: z.literal(true),
});

export type CompletionRequest = z.output<typeof completionSchema>;
export type ChatRequest = z.output<typeof chatSchema>;
export type GenerateRequest = z.output<typeof generateSchema>;
export type GenerateEvent =
  | z.output<typeof generateStartSchema>
  | z.output<typeof generateTokenSchema>
  | z.output<typeof generateUsageSchema>;
export type EmbeddingRequest = z.output<typeof embeddingSchema>;
export type ClassifyRequest = z.output<typeof classifySchema>;
export type ScoreRequest = z.output<typeof scoreSchema>;
export type LoadModelRequest = z.output<typeof loadModelSchema>;
export type UnloadModelRequest = z.output<typeof unloadModelSchema>;
