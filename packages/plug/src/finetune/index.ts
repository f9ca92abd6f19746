export { type ChoicePrediction, loadChooser, PlugChooser } from './chooser.js';
export { loadClassifier, PlugClassifier, type Prediction, type ScoringOptions } from './classifier.js';
export { describeData, type PlacedExamples } from './data-report.js';
export { type BrowsedRow, browsedRows, errorsFirst, writeErrors } from './error-rows.js';
export {
  type ChooserEvaluation,
  type ChooserScores,
  type ClassifierEvaluation,
  type ClassifierScores,
  choose,
  evaluateChooser,
  evaluateClassifier,
  evaluateGeneration,
  evaluateSpanReader,
  type GenerationEvaluation,
  type GenerationScores,
  type SpanEvaluation,
  type SpanScores,
  type TargetChoice,
  type TargetChoiceEvaluation,
} from './evaluation.js';
export {
  type ChoiceExample,
  type ChoiceInput,
  type ClassificationExample,
  type ClassificationInput,
  type ExampleOf,
  type FinetuneData,
  type GenerationExample,
  type GenerationInput,
  type ReadExamples,
  readExamples,
  readInputs,
  type SpanExample,
  type SpanInput,
  type TaskExample,
  type TaskInput,
} from './examples.js';
export {
  type FinetuneListener,
  type FinetunePlan,
  type FinetuneResult,
  type FinetuneScores,
  finetune,
} from './finetune.js';
export { loadGenerator, PlugGenerator, type TargetScore } from './generator.js';
export { evaluationName, type KeptEvaluation, keepEvaluation, runOfModel } from './kept-evaluation.js';
export {
  evaluateTask,
  loadTaskModel,
  type PredictedRow,
  predictRows,
  readTask,
  type ScoresOf,
  type TaskEvaluation,
  type TaskModel,
  type TaskScores,
  writeTargets,
} from './kinds.js';
export { type SearchResult, type SearchTrial, searchBest } from './search.js';
export { searchChanges } from './search-space.js';
export { type FinetuneSettings, finetuneSchema } from './settings.js';
export { chooseShots, evaluateFewShot, evaluateZeroShot, type ShotScores } from './shots.js';
export { loadSpanReader, PlugSpanReader, type SpanPrediction } from './span-reader.js';
export { findSiteTest, findSplitFiles, type SplitName, splitNames } from './split-files.js';
export { submissionFile, submissionName, submissionZip, type TaskPredictions } from './submission.js';
export {
  type ChoiceTask,
  type ClassificationTask,
  type FinetuneTask,
  type GenerationTask,
  parseTask,
  type SpanTask,
  type TaskKind,
  taskKinds,
} from './task.js';
export { readTaskFile, type TaskFile } from './task-file.js';
export { builtInTasks, findTask } from './tasks/built-in.js';
export {
  runTrials,
  type Spread,
  seedChanges,
  spreadOf,
  type Trial,
  type TrialsResult,
} from './trials.js';
export { type WrittenEvaluation, type WrittenScores, writtenScores } from './written-scores.js';
export {
  type PromptedTask,
  predictZeroShot,
  verbalize,
  type ZeroShotOptions,
  type ZeroShotPrediction,
  zeroShotPredictor,
} from './zero-shot.js';
