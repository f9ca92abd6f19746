// The decoder with its cache as one ONNX graph: all target tokens at once, a first step, and further steps. Names of
// inputs and outputs are those of Optimum's merged decoders, which transformers.js runs.
import { decoderConfig, type PlugConfig } from '../../model/index.js';
import { sinusoids } from '../../model/sinusoidal-embeddings.js';
import { type BuiltGraph, GraphBuilder, type Value } from './graph-builder.js';
import {
  attend,
  causalMask,
  embed,
  feedForward,
  layerNorm,
  linear,
  paddingBias,
  projectHeads,
  vocabularyLogits,
  wordEmbeddings,
} from './layers.js';

interface KeysValues {
  /** [B, H, S, D] */
  keys: Value;
  values: Value;
}

/** What every layer is given. */
interface Surroundings {
  graph: GraphBuilder;
  config: PlugConfig;
  /** bool [T, P + T] */
  visible: Value;
  /** [B, 1, 1, S] */
  sourceBias: Value;
}

/** Of a decoder whose embeddings are not the encoder's. */
const ownEmbedding = { words: 'decoder.embeddings.weight', bias: 'decoder.generator.bias' };

const layerName = (index: number): string => `decoder.decoder.layer.${index}`;

/**
 * input_ids [B, T], encoder_hidden_states [B, S, E], encoder_attention_mask [B, S], use_cache_branch [1], and of each
 * layer N past_key_values.N.{decoder,encoder}.{key,value} → logits [B, T, V] and present.N.… alike.
 *
 * Without `use_cache_branch` the past is ignored and the source's keys and values are computed; with it they are taken
 * from the past, and the target continues after the past's tokens.
 * @param given of the whole model
 */
export function decoderGraph(given: PlugConfig): BuiltGraph {
  const config = decoderConfig(given);
  const { hiddenSize, vocabSize, decHiddenLayers } = config;
  const graph = new GraphBuilder('decoder');
  const ids = graph.input('input_ids', 'int64', ['batch', 'target']);
  const mask = graph.input('encoder_attention_mask', 'int64', ['batch', 'source']);
  const encoded = graph.input('encoder_hidden_states', 'float', ['batch', 'source', hiddenSize]);
  const useCache = graph.input('use_cache_branch', 'bool', [1]);
  const pasts = Array.from({ length: decHiddenLayers }, (_, index) => ({
    own: cacheInput(graph, config, `past_key_values.${index}.decoder`, 'past'),
    memory: cacheInput(graph, config, `past_key_values.${index}.encoder`, 'cached_source'),
  }));
  const memories = sourceMemories(graph, config, encoded, useCache, pasts);

  // A past that is to be ignored has no tokens; 0 and 1 of a bool do the choosing.
  const counted = graph.op('Cast', [useCache], { to: 7 });
  const pastLength = graph.op('Mul', [graph.size(pasts[0]!.own.keys, 2), counted]);
  const end = graph.op('Add', [pastLength, graph.size(ids, 1)]);
  const positions = graph.range(pastLength, end);
  const surroundings: Surroundings = {
    graph,
    config,
    visible: causalMask(graph, positions, end),
    sourceBias: paddingBias(graph, mask),
  };
  const earlier = (past: Value): Value =>
    graph.op('Slice', [past, graph.integers(0), pastLength, graph.integers(2)]);

  const isShared = config.decEmbeddings !== 'sinusoidal';
  let x = isShared
    ? embed(graph, given, ids, positions, graph.integer(0)) // with the encoder's norm and its epsilon
    : embedWithSinusoids(graph, config, ids, positions);
  const presents: KeysValues[] = [];
  for (const [index, { own }] of pasts.entries()) {
    const past = { keys: earlier(own.keys), values: earlier(own.values) };
    const { output, present } = decoderLayer(surroundings, x, past, memories[index]!, layerName(index));
    presents.push(present);
    x = output;
  }
  x = layerNorm(graph, x, 'decoder.decoder.final_layernorm', config);
  const flat = graph.op('Reshape', [x, graph.integers(-1, hiddenSize)]);
  const rows = graph.op('Concat', [graph.op('Shape', [ids]), graph.integers(vocabSize)], { axis: 0 });
  const output = isShared ? { words: wordEmbeddings } : ownEmbedding;
  const logits = graph.op('Reshape', [vocabularyLogits(graph, config, flat, output), rows]);
  graph.output('logits', logits, 'float', ['batch', 'target', vocabSize]);
  for (const [index, present] of presents.entries()) {
    cacheOutput(graph, config, `present.${index}.decoder`, present, 'total');
    cacheOutput(graph, config, `present.${index}.encoder`, memories[index]!, 'source');
  }
  return graph.build();
}

/** The decoder's own words × √E + sinusoids: [B, T, E]. */
function embedWithSinusoids(graph: GraphBuilder, config: PlugConfig, ids: Value, positions: Value): Value {
  const { vocabSize, hiddenSize, maxPositionEmbeddings: rows } = config;
  using table = sinusoids(config, Float32Array);
  const waves = graph.table('sinusoids', table.toTypedArray() as Float32Array, rows, hiddenSize);
  const words = graph.op('Gather', [graph.weight(ownEmbedding.words, [vocabSize, hiddenSize]), ids]);
  const scaled = graph.op('Mul', [words, graph.float(Math.sqrt(hiddenSize))]);
  return graph.op('Add', [scaled, graph.op('Gather', [waves, positions])]);
}

/** Keys and values of the encoder's output in every layer, which a text needs once. */
function sourceMemories(
  graph: GraphBuilder,
  config: PlugConfig,
  encoded: Value,
  useCache: Value,
  pasts: readonly { memory: KeysValues }[],
): KeysValues[] {
  const shape = { type: 'float', dims: cacheDims(config, 'source') } as const;
  const flat = graph.branch(
    useCache,
    pasts.flatMap(() => [shape, shape]),
    () => pasts.flatMap(({ memory }) => [memory.keys, memory.values]),
    () =>
      pasts.flatMap((_, index) =>
        projectHeads(graph, encoded, `${layerName(index)}.cross_attention.key_value`, 2, config),
      ),
  );
  return pasts.map((_, index) => ({ keys: flat[2 * index]!, values: flat[2 * index + 1]! }));
}

/** [B, T, E] → [B, T, E], and the keys and values of all target tokens so far. */
function decoderLayer(
  { graph, config, visible, sourceBias }: Surroundings,
  x: Value,
  past: KeysValues,
  memory: KeysValues,
  name: string,
): { output: Value; present: KeysValues } {
  const { hiddenSize } = config;
  const norm = (input: Value, part: string): Value => layerNorm(graph, input, `${name}.${part}`, config);
  const dense = (input: Value, part: string): Value =>
    linear(graph, input, `${name}.${part}.dense`, hiddenSize, hiddenSize);
  const add = (input: Value, change: Value): Value => graph.op('Add', [input, change]);

  const own = projectHeads(graph, norm(x, 'input_layernorm'), `${name}.attention.query_key_value`, 3, config);
  const [queries, newKeys, newValues] = own as [Value, Value, Value];
  const joined = (before: Value, now: Value): Value => graph.op('Concat', [before, now], { axis: 2 });
  const present = { keys: joined(past.keys, newKeys), values: joined(past.values, newValues) };
  const attended = attend(graph, config, queries, present.keys, present.values, { visible });
  const middle = add(x, dense(attended, 'attention'));

  const crossNormed = norm(middle, 'post_attention_layernorm');
  const [question] = projectHeads(graph, crossNormed, `${name}.cross_attention.query`, 1, config) as [Value];
  const crossed = attend(graph, config, question, memory.keys, memory.values, { bias: sourceBias });
  const late = add(middle, dense(crossed, 'cross_attention'));

  const names = { intermediate: `${name}.intermediate`, output: `${name}.output` };
  const { decHiddenAct: activation } = config;
  const fed = feedForward(graph, norm(late, 'post_cross_attention_layernorm'), config, names, activation);
  return { output: add(late, fed), present };
}

function cacheDims(
  { hiddenSize, numAttentionHeads: heads }: PlugConfig,
  length: string,
): (number | string)[] {
  return ['batch', heads, length, hiddenSize / heads];
}

function cacheInput(graph: GraphBuilder, config: PlugConfig, name: string, length: string): KeysValues {
  const dims = cacheDims(config, length);
  return {
    keys: graph.input(`${name}.key`, 'float', dims),
    values: graph.input(`${name}.value`, 'float', dims),
  };
}

function cacheOutput(
  graph: GraphBuilder,
  config: PlugConfig,
  name: string,
  { keys, values }: KeysValues,
  length: string,
): void {
  const dims = cacheDims(config, length);
  graph.output(`${name}.key`, keys, 'float', dims);
  graph.output(`${name}.value`, values, 'float', dims);
}
