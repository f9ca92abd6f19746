// Which of BERT's tensors each of our parameters consists of. The published names of PLUG are BERT's, but for the fused
// projection of self-attention.
import type { TensorSource } from '../tensor-source.js';

const fused = /\.query_key_value\.(weight|bias)$/;

/** Names in a post-LN BERT, below one another: one, or the three of a fused projection. */
export function bertNames(parameter: string): string[] {
  if (!fused.test(parameter)) return [parameter];
  return ['query', 'key', 'value'].map((part) => parameter.replace(fused, `.${part}.$1`));
}

/** Where a file keeps its encoder and its heads: `bert.` and nothing, mostly. */
export interface BertPrefixes {
  /** Before `embeddings.` and `encoder.`. */
  readonly encoder: string;
  /** Before `cls.`. */
  readonly heads: string;
}

const anchor = 'embeddings.word_embeddings.weight';

/** Undefined when the file has no word embedding, or several of them. */
export function findPrefixes(source: Pick<TensorSource, 'names'>): BertPrefixes | undefined {
  const found = source.names().filter((name) => name === anchor || name.endsWith(`.${anchor}`));
  if (found.length !== 1) return undefined;
  const encoder = found[0]!.slice(0, -anchor.length);
  return { encoder, heads: encoder.replace(/(^|\.)bert\.$/, '$1') };
}

/**
 * The name by which a file has BERT's tensor `name`, or would have it: with its prefixes, and `gamma` and `beta` for
 * the parameters of LayerNorm if it is as old as that.
 */
export function nameInFile(source: TensorSource, prefixes: BertPrefixes, name: string): string {
  const full = name.startsWith('bert.')
    ? prefixes.encoder + name.slice('bert.'.length)
    : prefixes.heads + name;
  const old = full
    .replace(/LayerNorm\.weight$/, 'LayerNorm.gamma')
    .replace(/LayerNorm\.bias$/, 'LayerNorm.beta');
  return !source.has(full) && source.has(old) ? old : full;
}
