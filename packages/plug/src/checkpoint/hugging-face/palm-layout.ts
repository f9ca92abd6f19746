// Which of PALM 2.0's tensors each parameter of the decoder consists of. Names as in the published files.
const layer = /^decoder\.decoder\.layer\.(\d+)\.(.+)\.(weight|bias)$/;

/** Parts of a decoder layer, and those of theirs that stand below one another in it. */
const parts: Record<string, readonly string[]> = {
  input_layernorm: ['layer_norm_1'],
  'attention.query_key_value': ['linear_query', 'linear_keys', 'linear_values'].map(
    (part) => `self_attn.${part}`,
  ),
  'attention.dense': ['self_attn.final_linear'],
  post_attention_layernorm: ['layer_norm_2'],
  'cross_attention.query': ['context_attn.linear_query'],
  'cross_attention.key_value': ['context_attn.linear_keys', 'context_attn.linear_values'],
  'cross_attention.dense': ['context_attn.final_linear'],
  post_cross_attention_layernorm: ['feed_forward.layer_norm'],
  intermediate: ['feed_forward.w_1'],
  output: ['feed_forward.w_2'],
};

/** Parameters outside the layers. */
const others: Record<string, string> = {
  'decoder.embeddings.weight': 'decoder.embeddings.weight',
  'decoder.generator.bias': 'generator.dense.bias',
  'decoder.decoder.final_layernorm.weight': 'decoder.layer_norm.weight',
  'decoder.decoder.final_layernorm.bias': 'decoder.layer_norm.bias',
};

/** Names of what the decoder's parameter `name` consists of, below one another. */
export function palmNames(name: string): string[] {
  const [, index, part, kind] = layer.exec(name) ?? [];
  if (part === undefined) return [others[name]!];
  return parts[part]!.map((theirs) => `decoder.transformer_layers.${index}.${theirs}.${kind}`);
}

/** The output embedding, which is the decoder's table. */
export const palmTied = { copy: 'generator.dense.weight', original: 'decoder.embeddings.weight' };

/** Tensors that follow from the configuration, and what an old version kept beside the model. */
export const palmBuffers =
  /(^|\.)(decoder\.pos_emb\.pe|decoder\.transformer_layers\.\d+\.mask)$|^translator\./;
