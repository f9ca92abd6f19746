// Builds the graph of an ONNX model, operator by operator. Weights are only named here, with their shapes; their
// numbers are read when the file is written.
import {
  type AttributeProto,
  attributeType,
  type Dimension,
  type ElementType,
  elementType,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './messages.js';

/** Opset 20 is the first in which gelu is one operator. */
export const opsetVersion = 20;
/** The file format that came with opset 20 (ONNX 1.15): runtimes of that opset and later read it. */
export const irVersion = 9;

/** The name of a tensor in the graph. */
export type Value = string;

/** A tensor of the model that belongs into the file, as float32. */
export interface Weight {
  /** In the graph. */
  readonly name: Value;
  /** In the checkpoint. */
  readonly source: string;
  /** In the checkpoint. */
  readonly shape: readonly number[];
  /** Stored as [in, out], the order of `MatMul`, where the checkpoint has [out, in]. */
  readonly transposed: boolean;
}

/** A graph, and the weights that its `initializer` still lacks. */
export interface BuiltGraph {
  readonly graph: GraphProto;
  readonly weights: readonly Weight[];
}

type Attribute = number | readonly number[] | string | { float: number } | { graph: GraphProto };
/** Integers, lists of integers, texts, floats and subgraphs by name. */
export type Attributes = Readonly<Record<string, Attribute>>;

export class GraphBuilder {
  readonly #name: string;
  readonly #constants = new Map<Value, TensorProto>();
  readonly #weights = new Map<Value, Weight>();
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #numberOf = new Map<string, number>();
  #nodes: NodeProto[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  /** An input of the model; a size with a name may differ from run to run. */
  input(name: string, type: ElementType, dims: readonly (number | string)[]): Value {
    this.#inputs.push(valueInfo(name, type, dims));
    return name;
  }

  /** Makes `value` an output of the model called `name`. */
  output(name: string, value: Value, type: ElementType, dims: readonly (number | string)[]): void {
    this.#append('Identity', [value], [name], {});
    this.#outputs.push(valueInfo(name, type, dims));
  }

  /** One operator of the standard set with one result. */
  op(opType: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    return this.ops(opType, inputs, 1, attributes)[0]!;
  }

  /** One operator with several results. */
  ops(opType: string, inputs: readonly Value[], numResults: number, attributes: Attributes = {}): Value[] {
    const results = Array.from({ length: numResults }, () => this.#unused(opType));
    this.#append(opType, inputs, results, attributes);
    return results;
  }

  /** `then` or `otherwise`, by a boolean that is known when the model runs; both make as many results. */
  branch(
    condition: Value,
    results: readonly { type: ElementType; dims: readonly (number | string)[] }[],
    then: () => readonly Value[],
    otherwise: () => readonly Value[],
  ): Value[] {
    return this.ops('If', [condition], results.length, {
      then_branch: { graph: this.#subgraph('then', then, results) },
      else_branch: { graph: this.#subgraph('otherwise', otherwise, results) },
    });
  }

  /** Integers [n], of which the graph keeps one copy. */
  integers(...values: number[]): Value {
    return this.#constant('int64', [values.length], values);
  }

  /** One integer without dimensions. */
  integer(value: number): Value {
    return this.#constant('int64', [], [value]);
  }

  /** One number without dimensions. */
  float(value: number): Value {
    return this.#constant('float', [], [value]);
  }

  /** Numbers [rows, width] that follow from the configuration. */
  table(name: string, values: Float32Array, rows: number, width: number): Value {
    const rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    this.#constants.set(name, { dims: [rows, width], dataType: elementType.float, name, rawData });
    return name;
  }

  /** A tensor of the checkpoint. */
  weight(source: string, shape: readonly number[], { transposed = false } = {}): Value {
    const name = transposed ? `${source}.transposed` : source;
    this.#weights.set(name, { name, source, shape, transposed });
    return name;
  }

  /** The size of one dimension, [1]. */
  size(value: Value, dimension: number): Value {
    return this.op('Shape', [value], { start: dimension, end: dimension + 1 });
  }

  /** [start, …, end − 1], given as [1] each. */
  range(start: Value, end: Value): Value {
    const scalar = (value: Value): Value => this.op('Squeeze', [value]);
    return this.op('Range', [scalar(start), scalar(end), this.integer(1)]);
  }

  build(): BuiltGraph {
    const graph: GraphProto = {
      name: this.#name,
      node: this.#nodes,
      initializer: [...this.#constants.values()],
      input: this.#inputs,
      output: this.#outputs,
    };
    return { graph, weights: [...this.#weights.values()] };
  }

  /** Constants and weights that it mentions belong to the whole graph, which a subgraph can see. */
  #subgraph(
    name: string,
    body: () => readonly Value[],
    results: readonly { type: ElementType; dims: readonly (number | string)[] }[],
  ): GraphProto {
    const outer = this.#nodes;
    this.#nodes = [];
    // A subgraph may not hand out a value that it does not make itself: Identity makes it.
    const values = body().map((value) => this.op('Identity', [value]));
    const output = values.map((value, index) => valueInfo(value, results[index]!.type, results[index]!.dims));
    const graph = { name, node: this.#nodes, initializer: [], input: [], output };
    this.#nodes = outer;
    return graph;
  }

  #append(opType: string, input: readonly Value[], output: readonly Value[], attributes: Attributes): void {
    const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
    this.#nodes.push({ input: [...input], output: [...output], name: output[0]!, opType, attribute });
  }

  #unused(opType: string): Value {
    const number = (this.#numberOf.get(opType) ?? 0) + 1;
    this.#numberOf.set(opType, number);
    return `${opType}_${number}`;
  }

  #constant(type: 'int64' | 'float', dims: number[], values: readonly number[]): Value {
    const name = `${type}${dims.length > 0 ? `[${values.join(',')}]` : `:${values[0]}`}`;
    const elements = type === 'int64' ? BigInt64Array.from(values, BigInt) : Float32Array.from(values);
    const rawData = new Uint8Array(elements.buffer);
    this.#constants.set(name, { dims, dataType: elementType[type], name, rawData });
    return name;
  }
}

function valueInfo(name: string, type: ElementType, dims: readonly (number | string)[]): ValueInfoProto {
  const dim = dims.map(
    (size): Dimension => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }),
  );
  return { name, type: { tensorType: { elemType: elementType[type], shape: { dim } } } };
}

function attributeProto(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'number') return { name, type: attributeType.int, i: value };
  if (typeof value === 'string') return { name, type: attributeType.string, s: Buffer.from(value) };
  if ('float' in value) return { name, type: attributeType.float, f: value.float };
  if ('graph' in value) return { name, type: attributeType.graph, g: value.graph };
  return { name, type: attributeType.ints, ints: [...value] };
}
