// The tensors of a model as its map shows them: embeddings, each layer of encoder and decoder, heads; and each of these
// in parts.
import type { ModelPart, StoredTensor } from './model-api.js';

export const KINDS = ['table', 'attention', 'cross', 'feedForward', 'norm', 'head'] as const;
export type Kind = (typeof KINDS)[number];
export type Measure = 'parameters' | 'bytes';

export interface Group {
  /** Unique among the groups. */
  key: string;
  part: ModelPart;
  /** undefined: what a part has beside its layers, or a part without layers. */
  layer: number | undefined;
  tensors: StoredTensor[];
  /** Parts of it with anything in them, in the order of KINDS. */
  kinds: { kind: Kind; parameters: number; bytes: number }[];
  parameters: number;
  bytes: number;
}

/** In the order in which a text goes through the model. */
const ORDER: readonly ModelPart[] = [
  'embeddings',
  'encoder',
  'maskedLmHead',
  'sentenceHead',
  'pooler',
  'decoder',
];

export function kindOf({ name, part }: Pick<StoredTensor, 'name' | 'part'>): Kind {
  if (/layernorm/i.test(name)) return 'norm';
  if (part === 'embeddings' || name.startsWith('decoder.embeddings.')) return 'table';
  if (part !== 'encoder' && part !== 'decoder') return 'head';
  if (name.includes('.cross_attention.')) return 'cross';
  if (name.includes('.attention.')) return 'attention';
  return name.includes('.layer.') ? 'feedForward' : 'head';
}

export function groupTensors(tensors: readonly StoredTensor[]): Group[] {
  const groups = new Map<string, Group>();
  for (const tensor of tensors) {
    const { part, layer } = tensor;
    const key = layer === undefined ? part : `${part}.${layer}`;
    let group = groups.get(key);
    if (!group) {
      group = { key, part, layer, tensors: [], kinds: [], parameters: 0, bytes: 0 };
      groups.set(key, group);
    }
    group.tensors.push(tensor);
    group.parameters += tensor.parameters;
    group.bytes += tensor.bytes;
  }
  for (const group of groups.values()) group.kinds = kindsOf(group.tensors);
  const last = Number.POSITIVE_INFINITY;
  return [...groups.values()].sort(
    (a, b) => ORDER.indexOf(a.part) - ORDER.indexOf(b.part) || (a.layer ?? last) - (b.layer ?? last),
  );
}

function kindsOf(tensors: readonly StoredTensor[]): Group['kinds'] {
  return KINDS.map((kind) => {
    const own = tensors.filter((tensor) => kindOf(tensor) === kind);
    return {
      kind,
      parameters: own.reduce((sum, tensor) => sum + tensor.parameters, 0),
      bytes: own.reduce((sum, tensor) => sum + tensor.bytes, 0),
    };
  }).filter((entry) => entry.bytes > 0);
}
