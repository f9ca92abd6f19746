// Source → target on the whole encoder-decoder, and how probable it finds given targets.
import { loadModel, readStoredPrecision, resolveModelFolder, saveModel } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { inference, type PlugModel, promptIds } from '../model/index.js';
import { charactersOf, targetLosses } from '../pretrain/index.js';
import { packStage2 } from '../pretrain/samples/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';
import type { Trainable } from '../train/index.js';
import type { ScoringOptions } from './classifier.js';
import { type EncodedTarget, encodeTarget } from './encoding.js';
import { scoringBatches } from './example-batches.js';
import type { GenerationExample } from './examples.js';
import type { GenerationTask } from './task.js';
import { checkVocabulary, readTaskFile, writeTaskFile } from './task-file.js';

/** How probable one target is, given its source. */
export interface TargetScore {
  /** −ln p of the target's text. */
  textNats: number;
  /** −ln p of the text and its end: the whole target. */
  nats: number;
  /** Tokens scored, the end included. */
  tokens: number;
  /** Characters of the text scored. */
  characters: number;
  truncated: boolean;
}

/** A model with its tokenizer and the lengths of a generation task. */
export class PlugGenerator implements Trainable, Disposable {
  readonly model: PlugModel;
  readonly tokenizer: Tokenizer;
  readonly task: GenerationTask;
  /** Longest source in tokens, special ones included. */
  readonly maxLength: number;
  /** Longest decoder input. */
  readonly maxTargetLength: number;
  readonly #charactersOf: (id: number) => number;

  /** Takes ownership of the model. @throws ConfigError when it has no decoder */
  constructor(
    model: PlugModel,
    tokenizer: Tokenizer,
    task: GenerationTask,
    lengths: { maxLength: number; maxTargetLength: number },
  ) {
    if (model.config.decHiddenLayers === 0)
      throw new ConfigError(
        `The task ${task.name} writes text, but the model has no decoder. Start from stage 2.`,
      );
    this.model = model;
    this.tokenizer = tokenizer;
    this.task = task;
    this.maxLength = lengths.maxLength;
    this.maxTargetLength = lengths.maxTargetLength;
    this.#charactersOf = charactersOf(tokenizer);
  }

  get parameters(): Trainable['parameters'] {
    return this.model.parameters;
  }

  encode(example: GenerationExample): EncodedTarget {
    const vectors = promptIds(this.model.config);
    return encodeTarget(this.tokenizer, example, this.maxLength, this.maxTargetLength, vectors);
  }

  /** Scores of the examples' targets, in their order. */
  score(
    examples: readonly GenerationExample[],
    { forward = inference, tokensPerBatch = 4096 }: ScoringOptions = {},
  ): TargetScore[] {
    const samples = examples.map((example) => this.encode(example));
    const scores = new Array<TargetScore>(examples.length);
    for (const indices of scoringBatches(samples.map(targetLengths), tokensPerBatch)) {
      const losses = targetLosses(this.model, packStage2(indices.map((index) => samples[index]!)), forward);
      let at = 0;
      for (const index of indices) {
        scores[index] = this.#scoreOf(samples[index]!, losses, at);
        at += samples[index]!.targetIds.length;
      }
    }
    return scores;
  }

  /** Writes the model folder: the model, `task.json`, the tokenizer. */
  save(folder: string): void {
    saveModel(folder, this.model);
    const { task, maxLength, maxTargetLength } = this;
    writeTaskFile(folder, { task, maxLength, maxTargetLength });
    this.tokenizer.save(folder);
  }

  [Symbol.dispose](): void {
    this.model[Symbol.dispose]();
  }

  #scoreOf({ targetIds, truncated }: EncodedTarget, losses: Float64Array, start: number): TargetScore {
    const score: TargetScore = { textNats: 0, nats: 0, tokens: targetIds.length, characters: 0, truncated };
    for (const [position, id] of targetIds.entries()) {
      const loss = losses[start + position]!;
      score.nats += loss;
      if (id === this.tokenizer.special.sep) continue; // the end: no character of the text
      score.textNats += loss;
      score.characters += this.#charactersOf(id);
    }
    return score;
  }
}

/** What batching needs to know of a sample. */
export function targetLengths(sample: EncodedTarget): { source: number; target: number } {
  return { source: sample.sourceIds.length, target: sample.targetIds.length };
}

/**
 * Loads what `save` wrote.
 * @param path model folder, or run folder
 * @throws ConfigError when the model was not fine-tuned to generate, CheckpointError when a file is damaged
 */
export function loadGenerator(path: string): PlugGenerator {
  const folder = resolveModelFolder(path);
  const file = readTaskFile(folder);
  if (file?.task.kind !== 'generation' || file.maxTargetLength === undefined)
    throw new ConfigError(
      `${folder} was not fine-tuned to generate: it has no task.json of a generation task. \`plug finetune\` makes one.`,
    );
  const tokenizer = loadTokenizer(folder);
  const model = loadModel(folder, { precision: readStoredPrecision(folder) });
  checkVocabulary(folder, tokenizer, model.config.originalVocabSize);
  const { maxLength, maxTargetLength } = file;
  return new PlugGenerator(model, tokenizer, file.task, { maxLength, maxTargetLength });
}
