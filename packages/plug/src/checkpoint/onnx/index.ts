export { type ExportOnnxOptions, exportOnnx, type OnnxFile, type OnnxProgress } from './export-onnx.js';
