// A model's parameters by part, and how tensor-parallel ranks divide them, counted without making any.
import { listParameters, type ParameterInfo, type PlugConfig } from '../model/index.js';

/** Parts of a model. The pooler is published and stored, but no forward pass uses it. */
export const modelParts = [
  'embeddings',
  'encoder',
  'decoder',
  'maskedLmHead',
  'sentenceHead',
  'pooler',
] as const;
export type ModelPart = (typeof modelParts)[number];

/** Tables that logits are made with: the word embedding, and that of a decoder with its own (PALM). */
export const multipliedTables: readonly string[] = [
  'bert.embeddings.word_embeddings.weight',
  'decoder.embeddings.weight',
];

/** One parameter, where it belongs, and what one rank holds of it. */
export interface PlannedParameter extends Pick<ParameterInfo, 'name' | 'shape' | 'role'> {
  readonly part: ModelPart;
  /** Layer of the encoder or decoder; undefined outside them. */
  readonly layer: number | undefined;
  /** Shape on one rank. */
  readonly rankShape: readonly number[];
  /** Elements on one rank. */
  readonly rankCount: number;
}

/** Lists by configuration and degree: a search for a mesh asks for the same few again and again. */
const planned = new WeakMap<PlugConfig, Map<number, readonly PlannedParameter[]>>();

/** All parameters, the tied output embedding counted once. @param tensor degree of tensor parallelism */
export function plannedParameters(config: PlugConfig, tensor = 1): readonly PlannedParameter[] {
  const lists = planned.get(config) ?? new Map<number, readonly PlannedParameter[]>();
  planned.set(config, lists);
  const list = lists.get(tensor) ?? placedParameters(config, tensor);
  lists.set(tensor, list);
  return list;
}

function placedParameters(config: PlugConfig, tensor: number): PlannedParameter[] {
  return listParameters(config).map(({ name, shape, role }) => {
    const split = splitDimension(name);
    const rankShape = shape.map((size, dimension) => (dimension === split ? size / tensor : size));
    return {
      name,
      shape,
      role,
      ...placeOfParameter(name),
      rankShape,
      rankCount: product(rankShape),
    };
  });
}

/** Parameters of each part; they sum to `countParameters(config)`. */
export function countByPart(config: PlugConfig): Record<ModelPart, number> {
  const counts = Object.fromEntries(modelParts.map((part) => [part, 0])) as Record<ModelPart, number>;
  for (const { part, shape } of plannedParameters(config)) counts[part] += product(shape);
  return counts;
}

/** Where a parameter, or a tensor that is stored of it, belongs by its published name. */
export function placeOfParameter(name: string): { part: ModelPart; layer: number | undefined } {
  const layer = /\.layer\.(\d+)\./.exec(name)?.[1];
  return { part: partOf(name), layer: layer === undefined ? undefined : Number(layer) };
}

function partOf(name: string): ModelPart {
  if (name.startsWith('bert.embeddings.')) return 'embeddings';
  if (name.startsWith('bert.encoder.')) return 'encoder';
  if (name.startsWith('bert.pooler.')) return 'pooler';
  if (name.startsWith('cls.predictions.')) return 'maskedLmHead';
  if (name.startsWith('cls.seq_relationship.')) return 'sentenceHead';
  return 'decoder';
}

/**
 * The dimension that ranks divide, as in the published checkpoint: projections into heads and into the feed-forward by
 * their outputs, those back by their inputs (the bias whole on every rank), the word embedding and the masked-LM bias by
 * vocabulary entries. All else is on every rank: undefined.
 */
function splitDimension(name: string): 0 | 1 | undefined {
  if (/\.(query_key_value|key_value|query|intermediate|intermediate\.dense)\.(weight|bias)$/.test(name))
    return 0;
  if (/embeddings\.word_embeddings\.weight$|^cls\.predictions\.bias$/.test(name)) return 0;
  if (/^decoder\.(embeddings\.weight|generator\.bias)$/.test(name)) return 0;
  return /\.layer\.\d+\..*\b(dense|output)\.weight$/.test(name) ? 1 : undefined;
}

export function product(shape: readonly number[]): number {
  return shape.reduce((all, size) => all * size, 1);
}
