// Classification on an encoder: the first token's final state → dropout → `classifier`, a linear layer. There is
// no tanh pooler in between, as in the published fine-tuning code.
import { join } from 'node:path';
import { nn, noGrad, openSafetensors, scope, type Tensor, writeSafetensors } from '@openplug/torch';
import { loadModel, readStoredPrecision, resolveModelFolder, saveModel } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { DropoutSites } from '../model/forward.js';
import {
  type ForwardOptions,
  inference,
  ParameterScope,
  type ParameterSource,
  type PlugModel,
  packTexts,
  storedParameters,
  textBatch,
  trainableLayers,
} from '../model/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';
import type { Trainable } from '../train/index.js';
import { type EncodedText, encodeText } from './encoding.js';
import { scoringBatches } from './example-batches.js';
import type { ClassificationTask } from './task.js';
import { checkVocabulary, readTaskFile, writeTaskFile } from './task-file.js';

const headFile = 'classifier.safetensors';

/** How examples go through a model for scoring. */
export interface ScoringOptions {
  /** Default: fp32. */
  forward?: ForwardOptions;
  /** Tokens of a batch at most. Default 4096. It changes no result but the last bits. */
  tokensPerBatch?: number;
}

/** What a classifier says of one example. */
export interface Prediction {
  /** The most probable label (the first of equals). */
  label: string;
  /** Its index in the task's labels. */
  labelIndex: number;
  /** Probability of every label, in the task's order. */
  probabilities: Float64Array;
}

/** A fine-tuned encoder with its head, tokenizer and labels. */
export class PlugClassifier implements Trainable, Disposable {
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly model: PlugModel;
  readonly tokenizer: Tokenizer;
  readonly task: ClassificationTask;
  /** Longest input in tokens, special ones included; longer ones are cut. */
  readonly maxLength: number;
  readonly #weight: Tensor;
  readonly #bias: Tensor;

  /** Takes ownership of the model. @param head gives `classifier.weight` [C, E] and `classifier.bias` [C] */
  constructor(
    model: PlugModel,
    tokenizer: Tokenizer,
    task: ClassificationTask,
    maxLength: number,
    head: ParameterSource,
  ) {
    const parameters = new Map(model.parameters);
    const { hiddenSize, initializerRange: std } = model.config;
    const parts = { source: head, layers: trainableLayers, parameters, packed: [] };
    const classifier = new ParameterScope(parts).in('classifier');
    this.#weight = classifier.get('weight', [task.labels.length, hiddenSize], { std });
    this.#bias = classifier.get('bias', [task.labels.length], 'zeros');
    this.parameters = parameters;
    this.model = model;
    this.tokenizer = tokenizer;
    this.task = task;
    this.maxLength = maxLength;
  }

  encode(example: { text: string; textPair?: string | undefined }): EncodedText {
    return encodeText(this.tokenizer, example, this.maxLength);
  }

  /** Texts → logits [B, C]. */
  logits(texts: readonly EncodedText[], options: ForwardOptions): Tensor {
    const packed = packTexts(
      texts.map((text) => text.inputIds),
      texts.map((text) => text.tokenTypeIds),
    );
    const batch = textBatch(packed);
    const states = this.model.firstTokens(this.model.encode(batch, options), batch.layout);
    const { numHiddenLayers, decHiddenLayers, hiddenDropoutProb } = this.model.config;
    // Past the places of all layers and of both embeddings.
    const sites = new DropoutSites(options, numHiddenLayers + decHiddenLayers + 2);
    return nn.linear(
      nn.dropout(states, sites.rate(hiddenDropoutProb), sites.next()),
      this.#weight,
      this.#bias,
    );
  }

  /** Labels and probabilities, in the order of the examples. */
  predict(
    examples: readonly { text: string; textPair?: string | undefined }[],
    { forward = inference, tokensPerBatch = 4096 }: ScoringOptions = {},
  ): Prediction[] {
    const texts = examples.map((example) => this.encode(example));
    const lengths = texts.map((text) => ({ source: text.inputIds.length, target: 0 }));
    const predictions = new Array<Prediction>(examples.length);
    const numLabels = this.task.labels.length;
    for (const indices of scoringBatches(lengths, tokensPerBatch)) {
      const values = noGrad(() =>
        scope(() => {
          const batch = indices.map((index) => texts[index]!);
          return this.logits(batch, forward).to('float64').softmax(-1).toArray();
        }),
      );
      for (const [row, index] of indices.entries()) {
        const probabilities = Float64Array.from(values.slice(row * numLabels, (row + 1) * numLabels));
        const labelIndex = probabilities.indexOf(Math.max(...probabilities));
        predictions[index] = { label: this.task.labels[labelIndex]!, labelIndex, probabilities };
      }
    }
    return predictions;
  }

  /** Writes the model folder: the encoder as any model, `classifier.safetensors`, `task.json`, the tokenizer. */
  save(folder: string): void {
    saveModel(folder, this.model);
    const head = new Map([
      ['classifier.weight', this.#weight],
      ['classifier.bias', this.#bias],
    ]);
    writeSafetensors(join(folder, headFile), head, { format: 'openplug', version: '1' });
    writeTaskFile(folder, { task: this.task, maxLength: this.maxLength });
    this.tokenizer.save(folder);
  }

  [Symbol.dispose](): void {
    this.model[Symbol.dispose]();
    this.#weight.dispose();
    this.#bias.dispose();
  }
}

/**
 * Loads what `save` wrote.
 * @param path model folder, or run folder
 * @throws ConfigError when the model is no classifier, CheckpointError when a file is damaged
 */
export function loadClassifier(path: string): PlugClassifier {
  const folder = resolveModelFolder(path);
  const file = readTaskFile(folder);
  if (file?.task.kind !== 'classification')
    throw new ConfigError(
      `${folder} is no classifier: it has no task.json of a classification task. \`plug finetune\` makes one.`,
    );
  const tokenizer = loadTokenizer(folder);
  const model = loadModel(folder, { precision: readStoredPrecision(folder) });
  checkVocabulary(folder, tokenizer, model.config.originalVocabSize);
  const headPath = join(folder, headFile);
  using head = openSafetensors(headPath);
  return new PlugClassifier(model, tokenizer, file.task, file.maxLength, storedParameters(head, headPath));
}
