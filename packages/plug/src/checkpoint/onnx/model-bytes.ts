// A built graph and its weights as the bytes of an ONNX file, piece by piece, so that no more than one tensor of the
// checkpoint is in memory. Weights stand in the file itself, or, as a protobuf message ends at 2 GiB, in a file beside
// it, each at a multiple of the page size, so that runtimes can map them.
import { noGrad, scope, type Tensor } from '@openplug/torch';
import { type BuiltGraph, irVersion, opsetVersion, type Weight } from './graph-builder.js';
import {
  dataLocation,
  elementType,
  encodeMessage,
  fieldHead,
  type ModelProto,
  type TensorProto,
} from './messages.js';

/** Gives a weight as the checkpoint holds it; the tensor is disposed of by its user. */
export type ReadWeight = (weight: Weight) => Tensor;

/** A file that is made as it is written. */
export interface FileContent {
  bytes: number;
  pieces: Iterable<Uint8Array>;
}

const pageBytes = 4096;
/** Of float32 that are converted and written at a time. */
const pieceBytes = 8 << 20;

export const weightBytes = ({ shape }: Weight): number =>
  4 * shape.reduce((product, size) => product * size, 1);

/** Bytes of the weights alone. */
export function embeddedBytes({ weights }: BuiltGraph): number {
  return weights.reduce((sum, weight) => sum + weightBytes(weight), 0);
}

/** The whole model in one file. */
export function embeddedModel(built: BuiltGraph, read: ReadWeight): FileContent {
  const graph = encodeMessage('GraphProto', built.graph);
  // Fields of a message may come in any order, so the weights follow all the rest of the graph.
  const heads = built.weights.map((weight) => {
    const tensor = encodeMessage('TensorProto', tensorProto(weight));
    const data = fieldHead('TensorProto', 'rawData', weightBytes(weight));
    const length = tensor.length + data.length + weightBytes(weight);
    return Buffer.concat([fieldHead('GraphProto', 'initializer', length), tensor, data]);
  });
  const graphBytes = graph.length + heads.reduce((sum, head) => sum + head.length, 0) + embeddedBytes(built);
  const start = Buffer.concat([
    encodeMessage('ModelProto', modelProto()),
    fieldHead('ModelProto', 'graph', graphBytes),
  ]);
  function* pieces(): Generator<Uint8Array> {
    yield Buffer.concat([start, graph]);
    for (const [index, weight] of built.weights.entries()) {
      yield heads[index]!;
      yield* float32Pieces(weight, read);
    }
  }
  return { bytes: start.length + graphBytes, pieces: pieces() };
}

/** The model without its weights, which it looks for in the file `location` of its own folder. */
export function externalModel({ graph, weights }: BuiltGraph, location: string): FileContent {
  const initializer = weightOffsets(weights).map(
    ({ weight, offset }): TensorProto => ({
      ...tensorProto(weight),
      dataLocation: dataLocation.external,
      externalData: [
        { key: 'location', value: location },
        { key: 'offset', value: `${offset}` },
        { key: 'length', value: `${weightBytes(weight)}` },
      ],
    }),
  );
  const whole = { ...graph, initializer: [...graph.initializer, ...initializer] };
  const encoded = encodeMessage('ModelProto', { ...modelProto(), graph: whole });
  return { bytes: encoded.length, pieces: [encoded] };
}

/** The file of weights that `externalModel` refers to. */
export function externalData({ weights }: BuiltGraph, read: ReadWeight): FileContent {
  const placed = weightOffsets(weights);
  const last = placed.at(-1)!;
  function* pieces(): Generator<Uint8Array> {
    let position = 0;
    for (const { weight, offset } of placed) {
      if (offset > position) yield new Uint8Array(offset - position);
      yield* float32Pieces(weight, read);
      position = offset + weightBytes(weight);
    }
  }
  return { bytes: last.offset + weightBytes(last.weight), pieces: pieces() };
}

function weightOffsets(weights: readonly Weight[]): { weight: Weight; offset: number }[] {
  let position = 0;
  return weights.map((weight) => {
    const offset = Math.ceil(position / pageBytes) * pageBytes;
    position = offset + weightBytes(weight);
    return { weight, offset };
  });
}

function modelProto(): ModelProto {
  return { irVersion, producerName: 'openplug', opsetImport: [{ domain: '', version: opsetVersion }] };
}

function tensorProto({ name, shape, transposed }: Weight): TensorProto {
  return { name, dataType: elementType.float, dims: transposed ? shape.toReversed() : [...shape] };
}

function* float32Pieces(weight: Weight, read: ReadWeight): Generator<Uint8Array> {
  using stored = read(weight);
  const rows = weight.transposed ? weight.shape[1]! : weight.shape[0]!;
  const rowBytes = weightBytes(weight) / rows;
  const step = Math.max(1, Math.floor(pieceBytes / rowBytes));
  for (let start = 0; start < rows; start += step) {
    const count = Math.min(step, rows - start);
    const elements = noGrad(() =>
      scope(() => {
        const whole = weight.transposed ? stored.transpose(0, 1) : stored;
        return whole.narrow(0, start, count).to('float32').contiguous().toTypedArray();
      }),
    );
    yield new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
  }
}
