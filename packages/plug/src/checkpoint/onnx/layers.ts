// The parts of PLUG as ONNX operators: linear layers, normalisation, embeddings, attention, logits. The same
// mathematics as in `model/`, on padded rows: shapes as in model/README.md, with P earlier target tokens.
import type { PlugConfig } from '../../model/index.js';
import type { GraphBuilder, Value } from './graph-builder.js';

/** What masked scores get, as in the published code. */
const masked = -10000;

export const wordEmbeddings = 'bert.embeddings.word_embeddings.weight';

/** x·weightᵀ + bias: [.., in] → [.., out]. */
export function linear(graph: GraphBuilder, x: Value, name: string, input: number, output: number): Value {
  const weight = graph.weight(`${name}.weight`, [output, input], { transposed: true });
  return graph.op('Add', [graph.op('MatMul', [x, weight]), graph.weight(`${name}.bias`, [output])]);
}

export function layerNorm(graph: GraphBuilder, x: Value, name: string, config: PlugConfig): Value {
  const [weight, bias] = ['weight', 'bias'].map((part) =>
    graph.weight(`${name}.${part}`, [config.hiddenSize]),
  ) as [Value, Value];
  return graph.op('LayerNormalization', [x, weight, bias], {
    axis: -1,
    epsilon: { float: config.layernormEpsilon },
  });
}

/**
 * Word + position + token-type embeddings, normalised.
 * @param ids int64 [B, S]
 * @param positions int64 [S]
 * @param tokenTypes int64 [B, S], or without dimensions
 * @returns [B, S, E]
 */
export function embed(
  graph: GraphBuilder,
  config: PlugConfig,
  ids: Value,
  positions: Value,
  tokenTypes: Value,
): Value {
  const { vocabSize, maxPositionEmbeddings, typeVocabSize, hiddenSize } = config;
  const embeddings = 'bert.embeddings';
  const look = (name: string, rows: number, index: Value): Value =>
    graph.op('Gather', [graph.weight(name, [rows, hiddenSize]), index], { axis: 0 });
  const words = look(wordEmbeddings, vocabSize, ids);
  const places = look(`${embeddings}.position_embeddings.weight`, maxPositionEmbeddings, positions);
  const kinds = look(`${embeddings}.token_type_embeddings.weight`, typeVocabSize, tokenTypes);
  const summed = graph.op('Add', [graph.op('Add', [words, places]), kinds]);
  return layerNorm(graph, summed, `${embeddings}.LayerNorm`, config);
}

/** dense → gelu (exact erf form, or by tanh) → dense: [.., E] → [.., E]. */
export function feedForward(
  graph: GraphBuilder,
  x: Value,
  config: PlugConfig,
  names: { intermediate: string; output: string },
  activation: 'gelu' | 'gelu_new' = 'gelu',
): Value {
  const { hiddenSize, intermediateSize } = config;
  const wide = linear(graph, x, names.intermediate, hiddenSize, intermediateSize);
  const approximate = activation === 'gelu_new' ? 'tanh' : 'none';
  const inner = graph.op('Gelu', [wide], { approximate });
  return linear(graph, inner, names.output, intermediateSize, hiddenSize);
}

/** One projection to several parts of E each, as heads: [B, S, E] → `count` times [B, H, S, D]. */
export function projectHeads(
  graph: GraphBuilder,
  x: Value,
  name: string,
  count: number,
  config: PlugConfig,
): Value[] {
  const { hiddenSize, numAttentionHeads: heads } = config;
  const projected = linear(graph, x, name, hiddenSize, count * hiddenSize);
  const parts =
    count === 1 ? [projected] : graph.ops('Split', [projected], count, { axis: -1, num_outputs: count });
  const split = graph.integers(0, 0, heads, hiddenSize / heads); // 0: the size as it is
  return parts.map((part) =>
    graph.op('Transpose', [graph.op('Reshape', [part, split])], { perm: [0, 2, 1, 3] }),
  );
}

/** What is added to the scores of padded tokens. @param mask int64 [B, S], 1 for tokens @returns [B, 1, 1, S] */
export function paddingBias(graph: GraphBuilder, mask: Value): Value {
  const tokens = graph.op('Cast', [mask], { to: 1 });
  const padding = graph.op('Sub', [graph.float(1), tokens]);
  const bias = graph.op('Mul', [padding, graph.float(masked)]);
  return graph.op('Unsqueeze', [bias, graph.integers(1, 2)]);
}

/** Whether a target token sees another. @param positions int64 [T] of P, …, P + T − 1 @returns bool [T, P + T] */
export function causalMask(graph: GraphBuilder, positions: Value, end: Value): Value {
  const others = graph.range(graph.integers(0), end);
  return graph.op('LessOrEqual', [others, graph.op('Unsqueeze', [positions, graph.integers(1)])]);
}

/**
 * softmax(q·kᵀ/√D)·v of each head, and the heads side by side.
 * @param queries [B, H, T, D]
 * @param keys [B, H, S, D], as `values`
 * @param mask what is added to the scores, or where they count (elsewhere they are −10000)
 * @returns [B, T, E]
 */
export function attend(
  graph: GraphBuilder,
  config: PlugConfig,
  queries: Value,
  keys: Value,
  values: Value,
  mask: { bias: Value } | { visible: Value },
): Value {
  const { hiddenSize, numAttentionHeads: heads } = config;
  const scaled = graph.op('Mul', [queries, graph.float(1 / Math.sqrt(hiddenSize / heads))]);
  const scores = graph.op('MatMul', [scaled, graph.op('Transpose', [keys], { perm: [0, 1, 3, 2] })]);
  const seen =
    'bias' in mask
      ? graph.op('Add', [scores, mask.bias])
      : graph.op('Where', [mask.visible, scores, graph.float(masked)]);
  const mixed = graph.op('MatMul', [graph.op('Softmax', [seen], { axis: -1 }), values]);
  const together = graph.op('Transpose', [mixed], { perm: [0, 2, 1, 3] });
  return graph.op('Reshape', [together, graph.integers(0, 0, hiddenSize)]);
}

/** What a head multiplies by: a table of words, and a bias if it has one. */
export interface OutputEmbedding {
  words: string;
  bias?: string;
}

/** hidden · wordsᵀ (+ bias), padding entries of the vocabulary as the configuration says: [N, E] → [N, V]. */
export function vocabularyLogits(
  graph: GraphBuilder,
  config: PlugConfig,
  hidden: Value,
  { words, bias }: OutputEmbedding,
): Value {
  const { vocabSize, originalVocabSize, hiddenSize } = config;
  const table = graph.weight(words, [vocabSize, hiddenSize]);
  const added = bias === undefined ? [] : [graph.weight(bias, [vocabSize])];
  const logits = graph.op('Gemm', [hidden, table, ...added], { transB: 1 });
  if (!config.maskPaddingVocab || originalVocabSize === vocabSize) return logits;
  const [start, end, axis] = [0, originalVocabSize, 1].map((value) => graph.integers(value)) as [
    Value,
    Value,
    Value,
  ];
  const real = graph.op('Slice', [logits, start, end, axis]);
  const widths = graph.integers(0, 0, 0, vocabSize - originalVocabSize);
  return graph.op('Pad', [real, widths, graph.float(Number.NEGATIVE_INFINITY)]);
}
