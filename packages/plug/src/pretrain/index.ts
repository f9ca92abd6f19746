export {
  type CalibrationOptions,
  type CalibrationSettings,
  type CalibrationTexts,
  collectHessians,
  type Hessians,
} from './calibration.js';
export {
  type ComparedModel,
  compareLm,
  compareMaskedLm,
  type LossScores,
  type ModelPair,
  type PredictionComparison,
} from './comparison.js';
export { stage1Scores, stage2Scores, targetLosses } from './held-out.js';
export { type ObjectiveSettings, stage1Objective, stage2Objective } from './objectives.js';
export {
  charactersOf,
  chooseDType,
  isFinished,
  mlmUntilStep,
  type PretrainResult,
  pretrain,
} from './pretrain.js';
export { type PretrainSettings, pretrainSchema } from './settings.js';
