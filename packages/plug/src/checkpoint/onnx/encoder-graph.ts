// The encoder and its heads as ONNX graphs. Names of inputs and outputs are those that transformers.js and Optimum use.
import type { PlugConfig } from '../../model/index.js';
import { type BuiltGraph, GraphBuilder, type Value } from './graph-builder.js';
import {
  attend,
  embed,
  feedForward,
  layerNorm,
  linear,
  paddingBias,
  projectHeads,
  vocabularyLogits,
  wordEmbeddings,
} from './layers.js';

/** A fine-tuned head on the first token: `classifier.weight` [labels, E] and `classifier.bias` [labels]. */
export interface ClassifierShape {
  numLabels: number;
}

/**
 * input_ids, attention_mask, token_type_ids [B, S] → last_hidden_state [B, S, E], sentence_logits [B, 3], and with a
 * classifier its logits [B, labels].
 */
export function encoderGraph(config: PlugConfig, classifier?: ClassifierShape): BuiltGraph {
  const { hiddenSize } = config;
  const graph = new GraphBuilder('encoder');
  const [ids, mask, tokenTypes] = ['input_ids', 'attention_mask', 'token_type_ids'].map((name) =>
    graph.input(name, 'int64', ['batch', 'source']),
  ) as [Value, Value, Value];
  const positions = graph.range(graph.integers(0), graph.size(ids, 1));
  const bias = paddingBias(graph, mask);
  let x = embed(graph, config, ids, positions, tokenTypes);
  for (let index = 0; index < config.numHiddenLayers; index++)
    x = encoderLayer(graph, config, x, bias, `bert.encoder.layer.${index}`);
  if (config.preLn) x = layerNorm(graph, x, 'bert.encoder.LayerNorm', config);
  if (config.preLn && config.doubleFinalNorm) x = layerNorm(graph, x, 'bert.encoder.LayerNorm', config);
  graph.output('last_hidden_state', x, 'float', ['batch', 'source', hiddenSize]);
  const first = graph.op('Gather', [x, graph.integer(0)], { axis: 1 });
  const sentence = linear(graph, first, 'cls.seq_relationship', hiddenSize, 3);
  graph.output('sentence_logits', sentence, 'float', ['batch', 3]);
  if (classifier) {
    const { numLabels } = classifier;
    const logits = linear(graph, first, 'classifier', hiddenSize, numLabels);
    graph.output('logits', logits, 'float', ['batch', numLabels]);
  }
  return graph.build();
}

/** [B, S, E] → [B, S, E]. */
function encoderLayer(graph: GraphBuilder, config: PlugConfig, x: Value, bias: Value, name: string): Value {
  const { preLn, hiddenSize } = config;
  const attention = (input: Value): Value => {
    const heads = projectHeads(graph, input, `${name}.attention.self.query_key_value`, 3, config);
    const [queries, keys, values] = heads as [Value, Value, Value];
    const mixed = attend(graph, config, queries, keys, values, { bias });
    return linear(graph, mixed, `${name}.attention.output.dense`, hiddenSize, hiddenSize);
  };
  const names = { intermediate: `${name}.intermediate.dense`, output: `${name}.output.dense` };
  const norm = (input: Value, part: string): Value => layerNorm(graph, input, `${name}.${part}`, config);
  const add = (input: Value, change: Value): Value => graph.op('Add', [input, change]);
  if (preLn) {
    const middle = add(x, attention(norm(x, 'attention.LayerNorm')));
    return add(middle, feedForward(graph, norm(middle, 'LayerNorm'), config, names));
  }
  const middle = norm(add(x, attention(x)), 'attention.output.LayerNorm');
  return norm(add(middle, feedForward(graph, middle, config, names)), 'output.LayerNorm');
}

/** hidden_states [tokens, E], the encoder's output where words are wanted → logits [tokens, V]. */
export function maskedLmGraph(config: PlugConfig): BuiltGraph {
  const { hiddenSize, vocabSize } = config;
  const graph = new GraphBuilder('masked_lm_head');
  const hidden = graph.input('hidden_states', 'float', ['tokens', hiddenSize]);
  const head = 'cls.predictions';
  const dense = linear(graph, hidden, `${head}.transform.dense`, hiddenSize, hiddenSize);
  const transformed = layerNorm(graph, graph.op('Gelu', [dense]), `${head}.transform.LayerNorm`, config);
  const output = { words: wordEmbeddings, bias: `${head}.bias` };
  graph.output('logits', vocabularyLogits(graph, config, transformed, output), 'float', [
    'tokens',
    vocabSize,
  ]);
  return graph.build();
}
