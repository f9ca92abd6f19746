export { type ExportOnnxOptions, exportOnnx, type OnnxFile } from './export-onnx.js';
