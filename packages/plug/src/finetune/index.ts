export { loadClassifier, PlugClassifier, type Prediction, type ScoringOptions } from './classifier.js';
export {
  type ChoiceEvaluation,
  type ChoiceExample,
  type ClassifierEvaluation,
  type ClassifierScores,
  choose,
  evaluateClassifier,
  evaluateGeneration,
  type GenerationEvaluation,
  type GenerationScores,
} from './evaluation.js';
export {
  type ClassificationExample,
  type FinetuneData,
  findSplitFiles,
  type GenerationExample,
  type ReadExamples,
  readExamples,
  type SplitName,
  splitNames,
} from './examples.js';
export {
  type FinetuneListener,
  type FinetunePlan,
  type FinetuneResult,
  type FinetuneScores,
  finetune,
} from './finetune.js';
export { loadGenerator, PlugGenerator, type TargetScore } from './generator.js';
export { type FinetuneSettings, finetuneSchema } from './settings.js';
export {
  builtInTasks,
  type ClassificationTask,
  type FinetuneTask,
  findTask,
  type GenerationTask,
  parseTask,
} from './task.js';
export { readTaskFile, type TaskFile } from './task-file.js';
