// The parameters of a published checkpoint in its order, and how each is split over tensor-parallel ranks.
// Source: the published checkpoint layout (PLUG's `mp_rank_*` files, made by Megatron-style layers).
import type { PlugConfig } from '../../model/index.js';

/** How one parameter lies on the ranks. */
export interface ShardedParameter {
  readonly name: string;
  /** Whole, after merging. */
  readonly shape: readonly number[];
  /**
   * `undefined`: whole on every rank. Else dimension `dim` is cut into `groups` equal groups (three for query, key
   * and value), and each rank holds its part of every group, one after another.
   */
  readonly split?: { readonly dim: 0 | 1; readonly groups: 1 | 2 | 3 };
}

/** The tied copy of the word embedding, which files have and models do not. */
export const tiedName = 'cls.predictions.decoder_weight';
export const embeddingName = 'bert.embeddings.word_embeddings.weight';

const rows = { dim: 0, groups: 1 } as const;
const columns = { dim: 1, groups: 1 } as const;

/** Every tensor of a published shard, in the order in which it stands there. */
export function publishedLayout(config: PlugConfig): ShardedParameter[] {
  const { hiddenSize: e, intermediateSize: f, vocabSize: v } = config;
  const list: ShardedParameter[] = [];
  const add = (name: string, shape: number[], split?: ShardedParameter['split']): void => {
    list.push(split ? { name, shape, split } : { name, shape });
  };
  const norm = (name: string): void => {
    add(`${name}.weight`, [e]);
    add(`${name}.bias`, [e]);
  };
  /** Rows over the ranks: the bias is split along with the weight. */
  const rowParallel = (name: string, output: number, groups: 1 | 2 | 3 = 1): void => {
    add(`${name}.weight`, [output, e], { dim: 0, groups });
    add(`${name}.bias`, [output], { dim: 0, groups });
  };
  /** Columns over the ranks: each rank adds its part of the sum, and the bias is whole. */
  const columnParallel = (name: string, input: number): void => {
    add(`${name}.weight`, [e, input], columns);
    add(`${name}.bias`, [e]);
  };
  const whole = (name: string, output: number): void => {
    add(`${name}.weight`, [output, e]);
    add(`${name}.bias`, [output]);
  };

  add(embeddingName, [v, e], rows);
  add('bert.embeddings.position_embeddings.weight', [config.maxPositionEmbeddings, e]);
  add('bert.embeddings.token_type_embeddings.weight', [config.typeVocabSize, e]);
  norm('bert.embeddings.LayerNorm');
  for (let index = 0; index < config.numHiddenLayers; index++) {
    const layer = `bert.encoder.layer.${index}`;
    if (config.preLn) norm(`${layer}.attention.LayerNorm`);
    rowParallel(`${layer}.attention.self.query_key_value`, 3 * e, 3);
    columnParallel(`${layer}.attention.output.dense`, e);
    if (!config.preLn) norm(`${layer}.attention.output.LayerNorm`);
    rowParallel(`${layer}.intermediate.dense`, f);
    columnParallel(`${layer}.output.dense`, f);
    norm(config.preLn ? `${layer}.LayerNorm` : `${layer}.output.LayerNorm`);
  }
  if (config.preLn) norm('bert.encoder.LayerNorm');
  whole('bert.pooler.dense', e);
  add(tiedName, [v, e], rows);
  add('cls.predictions.bias', [v], rows);
  whole('cls.predictions.transform.dense', e);
  norm('cls.predictions.transform.LayerNorm');
  whole('cls.seq_relationship', 3);
  for (let index = 0; index < config.decHiddenLayers; index++) {
    const layer = `decoder.decoder.layer.${index}`;
    rowParallel(`${layer}.attention.query_key_value`, 3 * e, 3);
    columnParallel(`${layer}.attention.dense`, e);
    rowParallel(`${layer}.cross_attention.query`, e);
    rowParallel(`${layer}.cross_attention.key_value`, 2 * e, 2);
    columnParallel(`${layer}.cross_attention.dense`, e);
    norm(`${layer}.input_layernorm`);
    norm(`${layer}.post_attention_layernorm`);
    norm(`${layer}.post_cross_attention_layernorm`);
    rowParallel(`${layer}.intermediate`, f);
    columnParallel(`${layer}.output`, f);
  }
  if (config.decHiddenLayers > 0) norm('decoder.decoder.final_layernorm');
  return list;
}

/** Shape on each rank. */
export function shardShape({ shape, split }: ShardedParameter, degree: number): number[] {
  return shape.map((size, dim) => (split?.dim === dim ? size / degree : size));
}

/** Parts of the whole dimension that a rank holds, in its order: [start in the whole, start on the rank, length]. */
export function partsOfRank(
  { shape, split }: ShardedParameter,
  degree: number,
  rank: number,
): [wholeStart: number, rankStart: number, length: number][] {
  if (!split) return [];
  const group = shape[split.dim]! / split.groups;
  const length = group / degree;
  return Array.from({ length: split.groups }, (_, index) => [
    index * group + rank * length,
    index * length,
    length,
  ]);
}

/** Why the model cannot be split so many ways, undefined when it can. */
export function degreeProblem(config: PlugConfig, degree: number): string | undefined {
  if (!Number.isSafeInteger(degree) || degree < 1 || degree > 1024)
    return `the degree ${degree} is not a whole number from 1 to 1024`;
  const sizes = {
    vocab_size: config.vocabSize,
    num_attention_heads: config.numAttentionHeads,
    intermediate_size: config.intermediateSize,
  };
  const wrong = Object.entries(sizes).find(([, size]) => size % degree !== 0);
  return wrong && `"${wrong[0]}" (${wrong[1]}) cannot be divided by ${degree}`;
}
