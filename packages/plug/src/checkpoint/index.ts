export { type LoadOptions, loadModel, readModelConfig, saveModel } from './model-folder.js';
export { openTorchCheckpoint, type TorchCheckpoint, type TorchCheckpointOptions } from './pickle/index.js';
export {
  isPublishedPlug,
  type OpenPublishedOptions,
  openPublishedPlug,
  type SplitOptions,
  splitToShards,
} from './published/index.js';
export { resolveModelFolder } from './resolve-model.js';
