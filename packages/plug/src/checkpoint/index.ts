export { openAnyModel } from './any-format.js';
export { calibrated } from './calibrated.js';
export { gptqBytes, gptqRound } from './gptq.js';

export { exportBert, huggingFaceKind, openBert, openPalm } from './hugging-face/index.js';
export { type Inspection, inspectFolder, type StoredTensor } from './inspect-folder.js';
export { mergeAdapter } from './merge-adapter.js';
export {
  type LoadOptions,
  loadModel,
  readModelConfig,
  readStoredPrecision,
  saveModel,
} from './model-folder.js';
export { checkNewFolder, type WritingOptions, writeNewFolder } from './new-folder.js';
export { type ExportOnnxOptions, exportOnnx, type OnnxFile } from './onnx/index.js';
export { newModel, openModelFolder } from './open-model.js';
export { openTorchCheckpoint, type TorchCheckpoint, type TorchCheckpointOptions } from './pickle/index.js';
export {
  isPublishedPlug,
  type OpenPublishedOptions,
  openPublishedPlug,
  type SplitOptions,
  splitToShards,
} from './published/index.js';
export { resolveModelFolder } from './resolve-model.js';
export { shippedModelFolder } from './shipped-model.js';
export type { OpenedModel, TensorSource } from './tensor-source.js';
export {
  describeStreaming,
  openWeights,
  readWeightIndex,
  type Verification,
  verifyChecksums,
  weightFiles,
} from './weight-files.js';
export {
  bytesOf,
  type PlainDType,
  plainDTypes,
  type StoredPrecision,
  storedPrecisions,
  type WeightFormat,
} from './weight-format.js';
export { type WriteOptions, type WrittenModel, writeModelFolder } from './write-folder.js';
