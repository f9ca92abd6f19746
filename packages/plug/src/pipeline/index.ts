export { type EmbeddingOptions, type Embeddings, embed } from './embed.js';
export { type Classification, type LabelOptions, labelled, labeller } from './label.js';
export { type CallOptions, type Pipeline, type PipelineOptions, pipeline } from './pipeline.js';
export {
  explainClassifier,
  explainLabels,
  maxExplainedUnits,
  type Saliency,
  type SaliencyInput,
  type SaliencyUnit,
} from './saliency.js';
export type { PipelineInput, PipelineKind, PipelineKinds, PipelineOutput } from './tasks.js';
