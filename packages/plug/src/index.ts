// The public face of the package.
export {
  type ExportOnnxOptions,
  exportOnnx,
  loadModel,
  type OnnxFile,
  openAnyModel,
  readModelConfig,
  resolveModelFolder,
  saveModel,
} from './checkpoint/index.js';
export {
  readJsonLines,
  readPlainText,
  readPoems,
  readPoetryDocuments,
  splitOf,
  writeTokenCorpus,
} from './corpus/index.js';
export * from './errors.js';
export {
  choose,
  evaluateClassifier,
  evaluateGeneration,
  findTask,
  finetune,
  loadClassifier,
  loadGenerator,
} from './finetune/index.js';
export { type Generation, type GenerationSettings, generate, generateStream } from './generate/index.js';
export { type PlugConfig, PlugModel, plugConfigOfSize } from './model/index.js';
export {
  type CallOptions,
  type Classification,
  type Pipeline,
  type PipelineOptions,
  pipeline,
} from './pipeline/index.js';
export { type PretrainSettings, pretrain, pretrainSchema } from './pretrain/index.js';
export { loadTokenizer, type Tokenizer, tokenizerFromVocabulary, trainVocabulary } from './text/index.js';
