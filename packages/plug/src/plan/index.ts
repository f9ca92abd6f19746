export { type Hardware, type HardwareName, hardwareNames, hardwareTable, utilisationOf } from './hardware.js';
export {
  bytesPerStep,
  diskBytes,
  type InferenceMemory,
  inferenceMemory,
  type StorageFormat,
  storageFormats,
} from './inference-memory.js';
export { meshFlags, type Remedy, remedies, smallestMesh, totalBytes, type Work } from './mesh.js';
export { decodingOperations, encodingOperations, trainingOperations } from './operations.js';
export {
  countByPart,
  type ModelPart,
  modelParts,
  placeOfParameter,
  plannedParameters,
} from './parameters.js';
export { type HardwarePlan, type Ladder, type LadderRow, makePlan, type Plan } from './plan.js';
export { type PlannedModel, type PlanSettings, planFields, planSchema } from './settings.js';
export { type InferenceTime, inferenceTime, type TrainingTime, tokensPerStep, trainingTime } from './time.js';
export { processBytes, type TrainingMemory, trainingMemory } from './training-memory.js';
export {
  type Batch,
  checkWork,
  type InferencePrecision,
  type InferenceWork,
  inferencePrecisions,
  type Mesh,
  momentsOf,
  type OptimizerName,
  type TrainingDType,
  type TrainingWork,
  trainingDTypes,
} from './work.js';
