// For the tests of the export: ONNX Runtime where it is installed, and an exported model driven by it.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Tensor } from '@openplug/torch';
import { decoderConfig, type PlugConfig, type PlugModel } from '../../model/index.js';
import type { OpenedModel, TensorSource } from '../tensor-source.js';

/** A model in memory as one that was opened, its parameters as `convert` gives them. */
export function opened(
  { config, parameters }: Pick<PlugModel, 'config' | 'parameters'>,
  {
    convert,
    filesBeside = [],
  }: { convert?: (parameter: Tensor) => Tensor; filesBeside?: readonly string[] } = {},
): OpenedModel {
  const weights = sourceOfTensors(parameters, convert);
  return { kind: 'in memory', config, weights, filesBeside, notes: [], [Symbol.dispose]: () => {} };
}

function sourceOfTensors(
  tensors: ReadonlyMap<string, Tensor>,
  convert = (tensor: Tensor): Tensor => tensor.detach(),
): TensorSource {
  return {
    path: 'a model in memory',
    names: () => [...tensors.keys()],
    has: (name) => tensors.has(name),
    info(name) {
      using converted = convert(tensors.get(name)!);
      return { dtype: converted.dtype, shape: converted.shape };
    },
    tensor: (name) => convert(tensors.get(name)!),
    [Symbol.dispose]: () => {},
  };
}

/** A tensor of ONNX Runtime. */
export interface RuntimeTensor {
  data: Float32Array | BigInt64Array | Uint8Array;
  dims: readonly number[];
}

export type Feeds = Record<string, RuntimeTensor>;

interface Session {
  inputNames: readonly string[];
  run(feeds: Feeds): Promise<Feeds>;
  release(): Promise<void>;
}

interface Runtime {
  InferenceSession: { create(path: string, options?: object): Promise<Session> };
  Tensor: new (
    type: string,
    data: RuntimeTensor['data'] | boolean[],
    dims: readonly number[],
  ) => RuntimeTensor;
}

/** The folder into which `scripts/node-peers.mjs` installs. */
export const runtimeFolder = fileURLToPath(
  new URL('../../../../../bench/peers/node/node_modules/onnxruntime-node', import.meta.url),
);

/** As `skip` of a test: false where ONNX Runtime is installed. */
export const withoutRuntime = existsSync(runtimeFolder)
  ? false
  : 'onnxruntime-node is not installed: run `node scripts/node-peers.mjs` (113 MB)';

export const runtime = (): Runtime => createRequire(import.meta.url)(runtimeFolder) as Runtime;

const integers = (rows: readonly (readonly number[])[]): RuntimeTensor => {
  const { Tensor } = runtime();
  return new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);
};

/** A tensor in which every element would spoil what it touches. */
export function notNumbers(dims: readonly number[]): RuntimeTensor {
  const count = dims.reduce((product, size) => product * size, 1);
  return new (runtime().Tensor)('float32', new Float32Array(count).fill(Number.NaN), dims);
}

/** Rows of one length, and 1 where they had tokens. */
export function padded(rows: readonly (readonly number[])[]): { ids: number[][]; mask: number[][] } {
  const length = Math.max(...rows.map((row) => row.length));
  const fill = (row: readonly number[], value: number): number[] => [
    ...row,
    ...new Array<number>(length - row.length).fill(value),
  ];
  return {
    ids: rows.map((row) => fill(row, 0)),
    mask: rows.map((row) =>
      fill(
        row.map(() => 1),
        0,
      ),
    ),
  };
}

/** An export, run by ONNX Runtime. */
export class ExportedModel {
  readonly #config: PlugConfig;
  readonly #sessions: Map<string, Session>;

  private constructor(config: PlugConfig, sessions: Map<string, Session>) {
    this.#config = config;
    this.#sessions = sessions;
  }

  static async open(folder: string, config: PlugConfig): Promise<ExportedModel> {
    const sessions = new Map<string, Session>();
    for (const name of ['encoder_model', 'masked_lm_head', 'decoder_model_merged']) {
      const path = join(folder, `${name}.onnx`);
      const options = { intraOpNumThreads: 1, logSeverityLevel: 3 };
      if (existsSync(path)) sessions.set(name, await runtime().InferenceSession.create(path, options));
    }
    return new ExportedModel(config, sessions);
  }

  encode(ids: number[][], mask: number[][], types: number[][]): Promise<Feeds> {
    return this.#run('encoder_model', {
      input_ids: integers(ids),
      attention_mask: integers(mask),
      token_type_ids: integers(types),
    });
  }

  /** [N, E] → logits [N, V]. */
  async maskedLm(hidden: RuntimeTensor): Promise<RuntimeTensor> {
    const { hiddenSize } = this.#config;
    const { Tensor } = runtime();
    const flat = new Tensor('float32', hidden.data, [hidden.data.length / hiddenSize, hiddenSize]);
    return (await this.#run('masked_lm_head', { hidden_states: flat })).logits!;
  }

  /** The feeds of a first step: a past of `length` tokens, not numbers, which is to be ignored. */
  noPast(batch: number, length = 0): Feeds {
    const { decHiddenLayers, hiddenSize, numAttentionHeads: heads } = decoderConfig(this.#config);
    const { Tensor } = runtime();
    const feeds: Feeds = { use_cache_branch: new Tensor('bool', [false], [1]) };
    const dims = [batch, heads, length, hiddenSize / heads];
    for (let layer = 0; layer < decHiddenLayers; layer++)
      for (const part of ['decoder.key', 'decoder.value', 'encoder.key', 'encoder.value']) {
        feeds[`past_key_values.${layer}.${part}`] = notNumbers(dims);
      }
    return feeds;
  }

  /** The feeds of the step that follows one with these results. */
  pastOf(results: Feeds): Feeds {
    const { Tensor } = runtime();
    const past = Object.entries(results)
      .filter(([name]) => name.startsWith('present.'))
      .map(([name, value]) => [name.replace('present', 'past_key_values'), value]);
    return { ...Object.fromEntries(past), use_cache_branch: new Tensor('bool', [true], [1]) };
  }

  decode(ids: number[][], encoded: RuntimeTensor, mask: number[][], past: Feeds): Promise<Feeds> {
    return this.#run('decoder_model_merged', {
      input_ids: integers(ids),
      encoder_hidden_states: encoded,
      encoder_attention_mask: integers(mask),
      ...past,
    });
  }

  async close(): Promise<void> {
    for (const session of this.#sessions.values()) await session.release();
  }

  #run(name: string, feeds: Feeds): Promise<Feeds> {
    return this.#sessions.get(name)!.run(feeds);
  }
}
