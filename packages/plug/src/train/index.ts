export { type MetricsLine, RunFolder, type SamplesLine, type TextSample } from './run-folder.js';
export { learningRateAt } from './schedule.js';
export { trainingFields } from './settings.js';
export {
  type StepLosses,
  type TrainerSettings,
  type TrainingListener,
  type TrainingObjective,
  type TrainingResult,
  train,
} from './trainer.js';
export type { Trainable } from './training-state.js';
