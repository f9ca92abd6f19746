// Training samples of both stages, from a token corpus to packed batches. No tensors here.
export type { BatchPosition, BatchSettings, BatchStream, SampleLength, SampleLengths } from './batches.js';
export { batchStream } from './batches.js';
export type { CorpusView, DocumentView, VocabularyView } from './corpus-view.js';
export type { Labels, MaskingSettings } from './masking.js';
export { createMasking, labelKind } from './masking.js';
export type { Stage1Batch, Stage2Batch } from './packing.js';
export { packStage1, packStage2 } from './packing.js';
export { regularStage1, regularStage2 } from './regular-shapes.js';
export type { SentenceLabel, Stage1Sample, Stage1Sampler, Stage1Settings } from './stage1-sample.js';
export { createStage1Sampler } from './stage1-sample.js';
export type { Stage2Sample, Stage2Sampler, Stage2Settings } from './stage2-sample.js';
export { createStage2Sampler } from './stage2-sample.js';
