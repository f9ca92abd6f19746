export { type LoadOptions, loadModel, readModelConfig, saveModel } from './model-folder.js';
