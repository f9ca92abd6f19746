// The kinds of task in one place: how each is started, loaded, trained, scored, and asked.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { resolveModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { generate } from '../generate/index.js';
import { loadChooser, PlugChooser } from './chooser.js';
import { loadClassifier, PlugClassifier, type ScoringOptions } from './classifier.js';
import {
  type ChooserScores,
  type ClassifierScores,
  evaluateChooser,
  evaluateClassifier,
  evaluateGeneration,
  evaluateSpanReader,
  type GenerationScores,
  type SpanScores,
} from './evaluation.js';
import type {
  ChoiceExample,
  ChoiceInput,
  ClassificationExample,
  ClassificationInput,
  FinetuneData,
  GenerationExample,
  GenerationInput,
  SpanExample,
  SpanInput,
  TaskExample,
  TaskInput,
} from './examples.js';
import { loadGenerator, type PlugGenerator } from './generator.js';
import {
  choiceObjective,
  classificationObjective,
  type ExampleObjective,
  generationObjective,
  type ObjectiveSettings,
  spanObjective,
} from './objectives.js';
import type { ResolvedFinetuneSettings } from './settings.js';
import { loadSpanReader, PlugSpanReader } from './span-reader.js';
import { startEncoderTask, startGenerator } from './start.js';
import type { FinetuneTask, TaskKind } from './task.js';
import { readTaskFile } from './task-file.js';

/** A model that was, or is being, fine-tuned for a task. */
export type TaskModel = PlugClassifier | PlugChooser | PlugSpanReader | PlugGenerator;

/** Scores by kind of task. */
export interface ScoresByKind {
  classification: ClassifierScores;
  choice: ChooserScores;
  span: SpanScores;
  generation: GenerationScores;
}

export type ScoresOf<Task extends FinetuneTask> = ScoresByKind[Task['kind']];
export type TaskScores = ScoresByKind[TaskKind];

/** What a model says of one row. */
export interface PredictedRow {
  id: string | number;
  /** A label, the index of a candidate, a part of a text, or a text. */
  prediction: string | number;
  /** Of the prediction; absent for generated text. */
  probability?: number;
}

/** The model that fine-tuning starts from. */
export function startTaskModel(
  folder: string,
  task: FinetuneTask,
  settings: ResolvedFinetuneSettings,
): TaskModel {
  return task.kind === 'generation'
    ? startGenerator(folder, task, settings)
    : startEncoderTask(folder, task, settings);
}

/**
 * Loads a fine-tuned model of whatever kind.
 * @param path model folder, or run folder
 * @throws ConfigError when it was fine-tuned for no task, CheckpointError when a file is damaged
 */
export function loadTaskModel(path: string): TaskModel {
  const { task } = readTask(path);
  switch (task.kind) {
    case 'classification':
      return loadClassifier(path);
    case 'choice':
      return loadChooser(path);
    case 'span':
      return loadSpanReader(path);
    case 'generation':
      return loadGenerator(path);
  }
}

/** The task of a fine-tuned model. @throws ConfigError when there is none */
export function readTask(path: string): { task: FinetuneTask } {
  const folder = resolveModelFolder(path);
  const file = readTaskFile(folder);
  if (file) return file;
  const hint = existsSync(join(folder, 'config.json')) ? '`plug finetune` it first' : 'name a model folder';
  throw new ConfigError(`${folder} was not fine-tuned for a task (it has no task.json): ${hint}.`);
}

/** Losses on training examples, scores on dev. The examples must be of the model's kind. */
export function taskObjective(
  model: TaskModel,
  data: FinetuneData<TaskExample>,
  settings: ObjectiveSettings,
): ExampleObjective {
  if (model instanceof PlugClassifier)
    return classificationObjective(model, data as FinetuneData<ClassificationExample>, settings);
  if (model instanceof PlugChooser)
    return choiceObjective(model, data as FinetuneData<ChoiceExample>, settings);
  if (model instanceof PlugSpanReader)
    return spanObjective(model, data as FinetuneData<SpanExample>, settings);
  return generationObjective(model, data as FinetuneData<GenerationExample>, settings);
}

/** Scores, and what they were made of. */
export interface TaskEvaluation {
  scores: TaskScores;
  /** In the order of the examples; none of generation, whose targets are scored without writing a text. */
  rows: PredictedRow[];
}

/** @throws ConfigError without examples */
export function evaluateTask(
  model: TaskModel,
  examples: readonly TaskExample[],
  options: ScoringOptions = {},
): TaskEvaluation {
  const row = rowMaker(examples);
  if (model instanceof PlugClassifier) {
    const made = evaluateClassifier(model, examples as readonly ClassificationExample[], options);
    const rows = Array.from(made.predictions, (label, index) =>
      row(index, model.task.labels[label]!, made.probabilities[index]),
    );
    return { scores: made.scores, rows };
  }
  if (model instanceof PlugChooser) {
    const made = evaluateChooser(model, examples as readonly ChoiceExample[], options);
    const rows = made.predictions.map(({ choice, probabilities }, index) =>
      row(index, choice, probabilities[choice]),
    );
    return { scores: made.scores, rows };
  }
  if (model instanceof PlugSpanReader) {
    const made = evaluateSpanReader(model, examples as readonly SpanExample[], options);
    const rows = made.predictions.map(({ answer, probability }, index) => row(index, answer, probability));
    return { scores: made.scores, rows };
  }
  return {
    scores: evaluateGeneration(model, examples as readonly GenerationExample[], options).scores,
    rows: [],
  };
}

type RowMaker = (index: number, prediction: string | number, probability?: number) => PredictedRow;

function rowMaker(inputs: readonly TaskInput[]): RowMaker {
  return (index, prediction, probability) => ({
    id: inputs[index]!.id ?? index,
    prediction,
    ...(probability !== undefined && { probability }),
  });
}

/** Predictions in the order of the inputs; texts are written greedily. */
export async function predictRows(
  model: TaskModel,
  inputs: readonly TaskInput[],
  options: ScoringOptions = {},
): Promise<PredictedRow[]> {
  const row = rowMaker(inputs);
  if (model instanceof PlugClassifier)
    return model
      .predict(inputs as readonly ClassificationInput[], options)
      .map(({ label, labelIndex, probabilities }, index) => row(index, label, probabilities[labelIndex]));
  if (model instanceof PlugChooser)
    return model
      .predict(inputs as readonly ChoiceInput[], options)
      .map(({ choice, probabilities }, index) => row(index, choice, probabilities[choice]));
  if (model instanceof PlugSpanReader)
    return model
      .predict(inputs as readonly SpanInput[], options)
      .map(({ answer, probability }, index) => row(index, answer, probability));
  const texts = await writeTargets(model, inputs as readonly GenerationInput[], options);
  return texts.map((text, index) => row(index, text));
}

/** Sources that are written from together. */
const sourcesPerBatch = 32;

/** Greedy texts of a generation task. */
export async function writeTargets(
  { model, tokenizer, maxLength, maxTargetLength }: PlugGenerator,
  inputs: readonly GenerationInput[],
  { forward }: ScoringOptions = {},
): Promise<string[]> {
  const texts: string[] = [];
  for (let start = 0; start < inputs.length; start += sourcesPerBatch) {
    const batch = inputs.slice(start, start + sourcesPerBatch).map(({ source }) => source);
    const settings = {
      temperature: 0,
      maxLength: maxTargetLength,
      windowTokens: maxLength,
      refreshTokens: 0,
    };
    const written = await generate(model, tokenizer, batch, settings, forward ? { forward } : {});
    texts.push(...written.map(({ texts: [first] }) => first!.text));
  }
  return texts;
}
