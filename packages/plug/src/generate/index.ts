export {
  type AcceptedRequest,
  fittingRows,
  type TokenChoice,
  Writers,
  type WritersOptions,
  type WritingRequest,
  type WrittenToken,
} from './continuous.js';
export {
  type GeneratedChunk,
  type GeneratedText,
  type GenerateOptions,
  type Generation,
  generate,
  generateStream,
} from './generate.js';
export type { Finish } from './sample.js';
export { type GenerationSettings, generationFields, generationSchema, planGeneration } from './settings.js';
export type { Prompt, SourceIds } from './sources.js';
export { Turns } from './turns.js';
