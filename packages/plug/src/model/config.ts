// The model's configuration: published field names on disk, camelCase in code, nothing unknown accepted.
import { closest } from 'fastest-levenshtein';
import { z } from 'zod';
import { ConfigError } from '../errors.js';

/** Architecture of one PLUG or StructBERT. Defaults are the published ones. */
export interface PlugConfig {
  /** Rows of the word embedding, padding rows included. */
  vocabSize: number;
  /** Real vocabulary entries; ids at or above are padding and are never generated. */
  originalVocabSize: number;
  hiddenSize: number;
  numAttentionHeads: number;
  intermediateSize: number;
  /** Encoder layers. */
  numHiddenLayers: number;
  /** Decoder layers; 0 is an encoder-only model (stage 1). */
  decHiddenLayers: number;
  maxPositionEmbeddings: number;
  typeVocabSize: number;
  /** Layer normalisation before each sublayer (PLUG) or after it (BERT). */
  preLn: boolean;
  layernormEpsilon: number;
  /** Dropout after projections and embeddings. */
  hiddenDropoutProb: number;
  /** Dropout on attention probabilities. */
  attentionProbsDropoutProb: number;
  /** Standard deviation of the initial weights. */
  initializerRange: number;
  /** The published inference code applies the encoder's final normalisation twice; set for imported checkpoints. */
  doubleFinalNorm: boolean;
  /** Leave padding rows of the vocabulary out of the softmax. The reference keeps them in. */
  maskPaddingVocab: boolean;
  /**
   * How target tokens are embedded, and what the LM head multiplies by. "shared" (as when absent): by the encoder's
   * embeddings, positions, norm and all. "sinusoidal": by a table of the decoder's own × √hidden + sinusoids, and the
   * head has a bias (PALM 2.0).
   */
  decEmbeddings?: 'shared' | 'sinusoidal';
  /** Heads of the decoder. Absent: as many as the encoder has. */
  decNumAttentionHeads?: number;
  /** Feed-forward width of the decoder. Absent: the encoder's. */
  decIntermediateSize?: number;
  /** Epsilon of the decoder's norms. Absent: the encoder's. */
  decLayernormEpsilon?: number;
  /** Activation of the decoder's feed-forward parts: exact, or by tanh ("gelu_new"). Absent: "gelu". */
  decHiddenAct?: 'gelu' | 'gelu_new';
  /** Trained vectors in front of every source text (prompt.ts). Absent: none. */
  promptTokens?: number;
}

const size = z.int().positive();
const probability = z.number().min(0).lt(1);

/** Field on disk → key in code, with the rule for its value. */
const fields = {
  vocab_size: ['vocabSize', size],
  original_vocab_size: ['originalVocabSize', size],
  hidden_size: ['hiddenSize', size],
  num_attention_heads: ['numAttentionHeads', size],
  intermediate_size: ['intermediateSize', size],
  num_hidden_layers: ['numHiddenLayers', size],
  dec_hidden_layers: ['decHiddenLayers', z.int().nonnegative()],
  max_position_embeddings: ['maxPositionEmbeddings', size],
  type_vocab_size: ['typeVocabSize', size],
  pre_ln: ['preLn', z.boolean()],
  layernorm_epsilon: ['layernormEpsilon', z.number().positive()],
  hidden_dropout_prob: ['hiddenDropoutProb', probability],
  attention_probs_dropout_prob: ['attentionProbsDropoutProb', probability],
  initializer_range: ['initializerRange', z.number().positive()],
  double_final_norm: ['doubleFinalNorm', z.boolean()],
  mask_padding_vocab: ['maskPaddingVocab', z.boolean()],
  dec_embeddings: ['decEmbeddings', z.enum(['shared', 'sinusoidal'])],
  dec_num_attention_heads: ['decNumAttentionHeads', size],
  dec_intermediate_size: ['decIntermediateSize', size],
  dec_layernorm_epsilon: ['decLayernormEpsilon', z.number().positive()],
  dec_hidden_act: ['decHiddenAct', z.enum(['gelu', 'gelu_new'])],
  prompt_tokens: ['promptTokens', size],
} as const satisfies Record<string, readonly [keyof PlugConfig, z.ZodType]>;

/** Published fields that say how the reference trained or stored the model; they change nothing here. */
const ignoredFields = new Set([
  'attn_separate',
  'clip_grad',
  'fp16',
  'fp32_embedding',
  'fp32_layernorm',
  'fp32_tokentypes',
  'hidden_act',
  'lr_decay_style',
  'warmup',
  'weight_decay',
  'model_type',
  'architectures',
  'quantization_config', // read beside the weights, which it describes
]);

const defaults = {
  maxPositionEmbeddings: 2048,
  typeVocabSize: 3,
  decHiddenLayers: 0,
  preLn: true,
  layernormEpsilon: 1e-5,
  hiddenDropoutProb: 0.1,
  attentionProbsDropoutProb: 0.1,
  initializerRange: 0.00707,
  doubleFinalNorm: false,
  maskPaddingVocab: false,
} as const satisfies Partial<PlugConfig>;

/**
 * Reads a `config.json` object.
 * @param where file name for error texts
 * @throws ConfigError for an unknown field (naming the nearest known one), a wrong value, or sizes that do not fit
 */
export function parsePlugConfig(json: unknown, where: string): PlugConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new ConfigError(`${where}: expected a JSON object with the model's configuration.`);
  const config: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(json)) {
    if (ignoredFields.has(field)) continue;
    const entry = Object.hasOwn(fields, field) ? fields[field as keyof typeof fields] : undefined;
    if (!entry)
      throw new ConfigError(
        `${where}: unknown field "${field}". Did you mean "${closest(field, Object.keys(fields))}"?`,
      );
    const checked = entry[1].safeParse(value);
    if (!checked.success)
      throw new ConfigError(
        `${where}: "${field}" is ${JSON.stringify(value)}: ${checked.error.issues[0]?.message}.`,
      );
    config[entry[0]] = value;
  }
  const act = (json as { hidden_act?: unknown }).hidden_act ?? 'gelu';
  if (act !== 'gelu')
    throw new ConfigError(`${where}: "hidden_act" is ${JSON.stringify(act)}; only "gelu" is supported.`);
  return plugConfig(config as Partial<PlugConfig>, where);
}

/**
 * Fills in defaults (the published ones; feed-forward width 4 × hidden, all vocabulary entries real) and checks
 * that the sizes fit together.
 * @throws ConfigError
 */
export function plugConfig(given: Partial<PlugConfig>, where = 'model configuration'): PlugConfig {
  const required = ['vocabSize', 'hiddenSize', 'numAttentionHeads', 'numHiddenLayers'] as const;
  for (const key of required)
    if (given[key] === undefined) throw new ConfigError(`${where}: "${diskName(key)}" is missing.`);
  const config = {
    ...defaults,
    originalVocabSize: given.vocabSize!,
    intermediateSize: 4 * given.hiddenSize!,
    ...given,
  } as PlugConfig;
  for (const key of ['numAttentionHeads', 'decNumAttentionHeads'] as const) {
    const heads = config[key];
    if (heads !== undefined && config.hiddenSize % heads !== 0)
      throw new ConfigError(
        `${where}: "hidden_size" (${config.hiddenSize}) must be a multiple of "${diskName(key)}" (${heads}).`,
      );
  }
  if (config.originalVocabSize > config.vocabSize)
    throw new ConfigError(
      `${where}: "original_vocab_size" (${config.originalVocabSize}) is larger than "vocab_size" (${config.vocabSize}).`,
    );
  return config;
}

/** The configuration with the decoder's own sizes in place of the encoder's. */
export function decoderConfig(config: PlugConfig): PlugConfig {
  return {
    ...config,
    numAttentionHeads: config.decNumAttentionHeads ?? config.numAttentionHeads,
    intermediateSize: config.decIntermediateSize ?? config.intermediateSize,
    layernormEpsilon: config.decLayernormEpsilon ?? config.layernormEpsilon,
  };
}

/**
 * For layouts that have a place for PLUG's own decoder alone, and would make another one compute something else.
 * @param layout for the error text
 * @throws ConfigError
 */
export function requirePlugDecoder(config: PlugConfig, layout: string): void {
  if (config.decHiddenLayers === 0) return;
  const own = decoderConfig(config);
  const different = [
    ['dec_embeddings', (config.decEmbeddings ?? 'shared') === 'shared'],
    ['dec_hidden_act', (config.decHiddenAct ?? 'gelu') === 'gelu'],
    ['dec_num_attention_heads', own.numAttentionHeads === config.numAttentionHeads],
    ['dec_intermediate_size', own.intermediateSize === config.intermediateSize],
    ['dec_layernorm_epsilon', own.layernormEpsilon === config.layernormEpsilon],
  ] as const;
  const fields = different.filter(([, isSame]) => !isSame).map(([field]) => `"${field}"`);
  if (fields.length > 0)
    throw new ConfigError(
      `This model's decoder is not PLUG's (${fields.join(', ')}), and ${layout} has no place for another.`,
    );
}

/** For layouts that have no place for prompt vectors. @throws ConfigError */
export function requireNoPrompt({ promptTokens }: PlugConfig, layout: string): void {
  if (promptTokens !== undefined)
    throw new ConfigError(
      `This model reads sources after ${promptTokens} trained prompt vectors ("prompt_tokens"), and ${layout} has no ` +
        'place for them. Export the model that they were trained on.',
    );
}

/** The object for `config.json`. */
export function plugConfigToJson(config: PlugConfig): Record<string, unknown> {
  const values = Object.entries(fields).map(([field, [key]]) => [field, config[key]] as const);
  return {
    ...Object.fromEntries(values.filter(([, value]) => value !== undefined)),
    hidden_act: 'gelu',
  };
}

function diskName(key: keyof PlugConfig): string {
  return Object.entries(fields).find(([, entry]) => entry[0] === key)![0];
}
