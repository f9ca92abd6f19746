export { type CallOptions, type Pipeline, type PipelineOptions, pipeline } from './pipeline.js';
export type {
  Classification,
  EmbeddingOptions,
  LabelOptions,
  PipelineInput,
  PipelineKind,
  PipelineKinds,
  PipelineOutput,
} from './tasks.js';
