// What the server and the process of a model say to each other.
import type { PlainError } from '../errors.js';
import type { WritingRequest, WrittenToken } from '../generate/index.js';
import type {
  Classification,
  EmbeddingOptions,
  Embeddings,
  LabelOptions,
  Saliency,
  SaliencyInput,
} from '../pipeline/index.js';

/** First message to the process. */
export interface HostStart {
  readonly folder: string;
  readonly precision: 'auto' | 'float32' | 'bfloat16' | 'int8' | 'int4';
  readonly threads: number | undefined;
  /** Texts written at a time, and bytes for their keys and values. */
  readonly maxRows: number;
  readonly cacheBytes: number;
}

/** What a model can do. */
export interface HostedModelInfo {
  /** Positions of a source, and of a pass of the decoder. */
  readonly positions: number;
  readonly hiddenSize: number;
  readonly precision: Exclude<HostStart['precision'], 'auto'>;
  /** Without a decoder it only embeds. */
  readonly canWrite: boolean;
  readonly maxRows: number;
  /** Of a fine-tuned classifier, and whether it takes two texts. */
  readonly labels?: readonly string[];
  readonly takesPairs?: boolean;
}

/** What a classifier reads. */
export interface ClassifierInput {
  readonly text: string;
  readonly textPair?: string | undefined;
}

/** What is read, and not written. */
export type ReadingRequest =
  | { readonly embed: readonly string[]; readonly options: EmbeddingOptions }
  | { readonly score: readonly string[]; readonly options: LabelOptions }
  | { readonly classify: readonly ClassifierInput[] }
  /** By the classifier, or with options by the decoder. */
  | { readonly explain: SaliencyInput; readonly options: LabelOptions | undefined };

export type HostRequest =
  | { readonly start: HostStart }
  | { readonly write: WritingRequest; readonly call: number }
  | (ReadingRequest & { readonly client: string; readonly call: number })
  | { readonly cancel: number };

/** A token with the call that it belongs to. */
export type HostedToken = Omit<WrittenToken, 'request'>;

export type HostReply =
  /** The model is loaded; memory that its process takes. */
  | { readonly ready: { readonly residentBytes: number } }
  | { readonly failed: PlainError }
  | { readonly accepted: number; readonly sourceTokens: number; readonly notes: readonly string[] }
  /** Those of one step, by call, with how full the model is. */
  | {
      readonly tokens: readonly (readonly [call: number, token: HostedToken])[];
      readonly rows: number;
      readonly waiting: number;
    }
  | { readonly embedded: Embeddings; readonly call: number }
  /** Of texts that were scored or classified. */
  | { readonly labelled: readonly Classification[]; readonly call: number }
  | { readonly explained: Saliency; readonly call: number }
  | { readonly error: PlainError; readonly call: number };
