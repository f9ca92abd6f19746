export { type LoadOptions, loadModel, readModelConfig, saveModel } from './model-folder.js';
export { resolveModelFolder } from './resolve-model.js';
