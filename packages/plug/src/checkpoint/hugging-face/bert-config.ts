// The `config.json` of a BERT as the transformers library writes it, in both directions. Such files hold much that
// only concerns their own library; what would change the computation is never passed over.
import { z } from 'zod';
import { ConfigError } from '../../errors.js';
import { type PlugConfig, plugConfig } from '../../model/index.js';

const size = z.int().positive();
const probability = z.number().min(0).lt(1);

/** Field → key of ours, its rule, and the value that transformers takes when it is absent. */
const fields = {
  vocab_size: ['vocabSize', size, 30522],
  hidden_size: ['hiddenSize', size, 768],
  num_hidden_layers: ['numHiddenLayers', size, 12],
  num_attention_heads: ['numAttentionHeads', size, 12],
  intermediate_size: ['intermediateSize', size, 3072],
  max_position_embeddings: ['maxPositionEmbeddings', size, 512],
  type_vocab_size: ['typeVocabSize', size, 2],
  layer_norm_eps: ['layernormEpsilon', z.number().positive(), 1e-12],
  hidden_dropout_prob: ['hiddenDropoutProb', probability, 0.1],
  attention_probs_dropout_prob: ['attentionProbsDropoutProb', probability, 0.1],
  initializer_range: ['initializerRange', z.number().positive(), 0.02],
} as const satisfies Record<string, readonly [keyof PlugConfig, z.ZodType, number]>;

/** Fields that change what is computed, with the values under which it is what we compute. */
const computation: Record<string, readonly unknown[]> = {
  model_type: ['bert', 'structbert'],
  hidden_act: ['gelu'],
  position_embedding_type: ['absolute'],
  is_decoder: [false],
  is_encoder_decoder: [false],
  add_cross_attention: [false],
  pre_ln: [false],
};

/** Fields that are about training, generation or the library, and change nothing here. */
const harmless = new Set([
  '_name_or_path',
  'architectures',
  'bos_token_id',
  'chunk_size_feed_forward',
  'classifier_dropout',
  'cls_token_id',
  'directionality',
  'dtype',
  'eos_token_id',
  'finetuning_task',
  'gradient_checkpointing',
  'id2label',
  'label2id',
  'mask_token_id',
  'name_or_path',
  'num_labels',
  'output_attentions',
  'output_hidden_states',
  'output_past',
  'pad_token_id',
  'pooler_fc_size',
  'pooler_num_attention_heads',
  'pooler_num_fc_layers',
  'pooler_size_per_head',
  'pooler_type',
  'problem_type',
  'return_dict',
  'sep_token_id',
  'task_specific_params',
  'tie_word_embeddings', // a matrix of its own would be seen in the weights
  'tokenizer_class',
  'torch_dtype',
  'torchscript',
  'transformers_version',
  'use_bfloat16',
  'use_cache',
]);

/** A configuration that was read, and what a user should know of it. */
export interface BertConfig {
  /** An encoder alone, post-LN. All vocabulary entries count as real: only the tokenizer knows better. */
  readonly config: PlugConfig;
  readonly notes: readonly string[];
}

/**
 * Reads a BERT's configuration. Fields without a value take transformers' defaults (those of BERT base).
 * @param where file name for error texts
 * @throws ConfigError naming a field that asks for another computation than ours, or has a wrong value
 */
export function parseBertConfig(json: Readonly<Record<string, unknown>>, where: string): BertConfig {
  const value = (field: string): unknown => json[field] ?? undefined; // null is written for "not set"
  for (const [field, allowed] of Object.entries(computation))
    if (value(field) !== undefined && !allowed.includes(value(field)))
      throw new ConfigError(
        `${where}: "${field}" is ${JSON.stringify(value(field))}; OpenPLUG computes ` +
          `${allowed.map((one) => JSON.stringify(one)).join(' or ')} only.`,
      );
  refuseIfSet(where, 'pruned_heads', value('pruned_heads'), 'heads that were cut out of some layers');
  refuseIfSet(where, 'quantization_config', value('quantization_config'), "another program's packed weights");
  const embeddingSize = value('embedding_size');
  if (embeddingSize !== undefined && embeddingSize !== value('hidden_size'))
    throw new ConfigError(
      `${where}: "embedding_size" is ${JSON.stringify(embeddingSize)}, not "hidden_size" ` +
        `(${JSON.stringify(value('hidden_size'))}): a projection in between is not supported.`,
    );
  const config: Record<string, unknown> = {};
  for (const [field, [key, rule, fallback]] of Object.entries(fields)) {
    const checked = rule.safeParse(value(field) ?? fallback);
    if (!checked.success)
      throw new ConfigError(
        `${where}: "${field}" is ${JSON.stringify(value(field))}: ${checked.error.issues[0]?.message}.`,
      );
    config[key] = checked.data;
  }
  const known = [...Object.keys(fields), ...Object.keys(computation), ...harmless];
  const unknown = Object.keys(json).filter(
    (field) =>
      !known.includes(field) && !['pruned_heads', 'quantization_config', 'embedding_size'].includes(field),
  );
  return {
    config: plugConfig({ ...config, decHiddenLayers: 0, preLn: false }, where),
    notes: unknown.length > 0 ? [`${where}: fields that were left aside: ${unknown.join(', ')}.`] : [],
  };
}

/** Empty lists and objects, which some versions write, set nothing. */
function refuseIfSet(where: string, field: string, value: unknown, meaning: string): void {
  if (value === undefined || value === false) return;
  if (typeof value === 'object' && Object.keys(value as object).length === 0) return;
  throw new ConfigError(`${where}: "${field}" is ${JSON.stringify(value)}: ${meaning} are not supported.`);
}

/** The object for transformers' `config.json` of a post-LN encoder. */
export function bertConfigToJson(config: PlugConfig): Record<string, unknown> {
  return {
    // Not BertForPreTraining, whose sentence head has two classes of a pooled state.
    architectures: ['BertForMaskedLM'],
    model_type: 'bert',
    ...Object.fromEntries(Object.entries(fields).map(([field, [key]]) => [field, config[key]])),
    hidden_act: 'gelu',
    position_embedding_type: 'absolute',
    pad_token_id: 0,
    tie_word_embeddings: true,
  };
}
