// Named tensors that are read one at a time, whatever file format they come from: the common ground of importing,
// converting, quantising and exporting, none of which ever holds a whole model.
import type { Tensor, TensorInfo } from '@openplug/torch';
import type { PlugConfig } from '../model/index.js';

/** Where tensors come from. An open safetensors file is one. */
export interface TensorSource extends Disposable {
  /** File or folder, for error texts. */
  readonly path: string;
  names(): string[];
  has(name: string): boolean;
  /** Dtype and shape, without reading the data. @throws CheckpointError when there is no such tensor */
  info(name: string): TensorInfo;
  /** The tensor, which the caller disposes of. @throws CheckpointError when there is none, or it cannot be read */
  tensor(name: string): Tensor;
}

/** A model that has been opened in some format, its tensors under the published names of PLUG. */
export interface OpenedModel extends Disposable {
  /** What was recognised, for people: "published PLUG, 8-way tensor parallel". */
  readonly kind: string;
  readonly config: PlugConfig;
  /** Exactly the parameters that `config` asks for; the tied `cls.predictions.decoder_weight` may be among them. */
  readonly weights: TensorSource;
  /** Paths of files to be copied beside the weights: the tokenizer's, and those of a fine-tuned task. */
  readonly filesBeside: readonly string[];
  /** What a user should know: heads that were not there and start anew, settings that were turned on. */
  readonly notes: readonly string[];
}
