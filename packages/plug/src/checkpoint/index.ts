export { type LoadOptions, loadModel, readModelConfig, saveModel } from './model-folder.js';
export { type ExportOnnxOptions, exportOnnx, type OnnxFile, type OnnxProgress } from './onnx/index.js';
export { resolveModelFolder } from './resolve-model.js';
