// The messages of the ONNX file format that an export needs, as bytes and back. Field numbers are those of the
// format's schema, onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); unknown fields are skipped.
import protobuf from 'protobufjs/light.js'; // chosen: takes messages as plain objects, with no compiler or generated code

/** Element types, by the schema's numbers. */
export const elementType = { float: 1, int64: 7, bool: 9 } as const;
export type ElementType = keyof typeof elementType;

/** Kinds of attributes, by the schema's numbers. */
export const attributeType = { float: 1, int: 2, string: 3, graph: 5, ints: 7 } as const;

/** Where a tensor's bytes are, by the schema's numbers. */
export const dataLocation = { embedded: 0, external: 1 } as const;

export interface TensorProto {
  dims: number[];
  dataType: number;
  name: string;
  /** Elements, row-major and little-endian. */
  rawData?: Uint8Array;
  /** `location` (a file beside the model), `offset` and `length` in bytes. */
  externalData?: { key: string; value: string }[];
  dataLocation?: number;
}

export interface AttributeProto {
  name: string;
  type: number;
  f?: number;
  i?: number;
  s?: Uint8Array;
  g?: GraphProto;
  ints?: number[];
}

export interface NodeProto {
  input: string[];
  output: string[];
  name: string;
  opType: string;
  attribute: AttributeProto[];
}

/** A size, or the name of one that is known only when the model runs. */
export type Dimension = { dimValue: number } | { dimParam: string };

export interface ValueInfoProto {
  name: string;
  type: { tensorType: { elemType: number; shape: { dim: Dimension[] } } };
}

export interface GraphProto {
  name: string;
  node: NodeProto[];
  initializer: TensorProto[];
  input: ValueInfoProto[];
  output: ValueInfoProto[];
}

export interface ModelProto {
  irVersion: number;
  producerName: string;
  opsetImport: { domain: string; version: number }[];
  graph?: GraphProto;
}

/** By message: field → number, type, and whether it repeats. */
const schema: Record<string, Record<string, readonly [number, string, 'repeated'?]>> = {
  ModelProto: {
    irVersion: [1, 'int64'],
    producerName: [2, 'string'],
    graph: [7, 'GraphProto'],
    opsetImport: [8, 'OperatorSetIdProto', 'repeated'],
  },
  OperatorSetIdProto: { domain: [1, 'string'], version: [2, 'int64'] },
  GraphProto: {
    node: [1, 'NodeProto', 'repeated'],
    name: [2, 'string'],
    initializer: [5, 'TensorProto', 'repeated'],
    input: [11, 'ValueInfoProto', 'repeated'],
    output: [12, 'ValueInfoProto', 'repeated'],
  },
  NodeProto: {
    input: [1, 'string', 'repeated'],
    output: [2, 'string', 'repeated'],
    name: [3, 'string'],
    opType: [4, 'string'],
    attribute: [5, 'AttributeProto', 'repeated'],
  },
  AttributeProto: {
    name: [1, 'string'],
    f: [2, 'float'],
    i: [3, 'int64'],
    s: [4, 'bytes'],
    g: [6, 'GraphProto'],
    ints: [8, 'int64', 'repeated'],
    type: [20, 'int32'],
  },
  TensorProto: {
    dims: [1, 'int64', 'repeated'],
    dataType: [2, 'int32'],
    name: [8, 'string'],
    rawData: [9, 'bytes'],
    externalData: [13, 'StringStringEntryProto', 'repeated'],
    dataLocation: [14, 'int32'],
  },
  StringStringEntryProto: { key: [1, 'string'], value: [2, 'string'] },
  ValueInfoProto: { name: [1, 'string'], type: [2, 'TypeProto'] },
  TypeProto: { tensorType: [1, 'TensorTypeProto'] },
  TensorTypeProto: { elemType: [1, 'int32'], shape: [2, 'TensorShapeProto'] },
  TensorShapeProto: { dim: [1, 'DimensionProto', 'repeated'] },
  DimensionProto: { dimValue: [1, 'int64'], dimParam: [2, 'string'] },
};

const types = protobuf.Root.fromJSON({
  nested: Object.fromEntries(
    Object.entries(schema).map(([name, fields]) => [
      name,
      {
        edition: 'proto2', // as in the schema: a field that was set is written, even when it is 0
        fields: Object.fromEntries(
          Object.entries(fields).map(([field, [id, type, rule]]) => [
            field,
            rule ? { id, type, rule } : { id, type },
          ]),
        ),
      },
    ]),
  ),
});

interface Messages {
  ModelProto: ModelProto;
  GraphProto: GraphProto;
  TensorProto: TensorProto;
}

/** A message's bytes, without a length in front. */
export function encodeMessage<Name extends keyof Messages>(name: Name, message: Messages[Name]): Uint8Array {
  return types.lookupType(name).encode(message).finish();
}

/** The tag and length in front of a field of `length` bytes that are written elsewhere. */
export function fieldHead(message: keyof Messages, field: string, length: number): Uint8Array {
  const lengthDelimited = 2;
  const tag = (schema[message]![field]![0] << 3) | lengthDelimited;
  return protobuf.Writer.create().uint32(tag).uint32(length).finish();
}

/** Reads a model; messages that are not listed above are left out. @throws RangeError or Error for broken bytes */
export function decodeModel(bytes: Uint8Array): ModelProto {
  const type = types.lookupType('ModelProto');
  return type.toObject(type.decode(bytes), { longs: Number, arrays: true }) as ModelProto;
}
