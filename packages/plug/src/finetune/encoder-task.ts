// What tasks on the encoder have in common: the encoder, a linear layer of the task's own over its final states, and
// how both are kept. There is no tanh pooler in between, as in the published fine-tuning code.
import { join } from 'node:path';
import { cat, full, nn, openSafetensors, type Tensor, writeSafetensors } from '@openplug/torch';
import { loadModel, readStoredPrecision, resolveModelFolder, saveModel } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { DropoutSites } from '../model/forward.js';
import {
  type ForwardOptions,
  indexTensor,
  ParameterScope,
  type ParameterSource,
  type PlugModel,
  packTexts,
  storedParameters,
  type TextLayout,
  textBatch,
  trainableLayers,
} from '../model/index.js';
import { loadTokenizer, type Tokenizer } from '../text/index.js';
import type { Trainable } from '../train/index.js';
import type { EncodedText } from './encoding.js';
import type { ChoiceTask, ClassificationTask, SpanTask } from './task.js';
import { checkVocabulary, readTaskFile, writeTaskFile } from './task-file.js';

const headFile = 'classifier.safetensors';

type HeadTask = ClassificationTask | ChoiceTask | SpanTask;

/** What such a task is made of. */
export interface TaskParts<Task extends HeadTask> {
  model: PlugModel;
  tokenizer: Tokenizer;
  task: Task;
  /** Longest input in tokens, special ones included. */
  maxLength: number;
  /** Gives `classifier.weight` [outputs, E] and `classifier.bias` [outputs]. */
  head: ParameterSource;
}

/** An encoder with the linear layer of a task. Takes ownership of the model. */
export abstract class EncoderTask<Task extends HeadTask> implements Trainable, Disposable {
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly model: PlugModel;
  readonly tokenizer: Tokenizer;
  readonly task: Task;
  readonly maxLength: number;
  readonly #weight: Tensor;
  readonly #bias: Tensor;

  constructor({ model, tokenizer, task, maxLength, head }: TaskParts<Task>, numOutputs: number) {
    const parameters = new Map(model.parameters);
    const { hiddenSize, initializerRange: std } = model.config;
    const parts = { source: head, layers: trainableLayers, parameters, packed: [] };
    const classifier = new ParameterScope(parts).in('classifier');
    this.#weight = classifier.get('weight', [numOutputs, hiddenSize], { std });
    this.#bias = classifier.get('bias', [numOutputs], 'zeros');
    this.parameters = parameters;
    this.model = model;
    this.tokenizer = tokenizer;
    this.task = task;
    this.maxLength = maxLength;
  }

  /** Texts → final states [N, E] and how they divide into texts. */
  protected encodeTexts(
    texts: readonly EncodedText[],
    options: ForwardOptions,
  ): { states: Tensor; layout: TextLayout } {
    const packed = packTexts(
      texts.map((text) => text.inputIds),
      texts.map((text) => text.tokenTypeIds),
    );
    const batch = textBatch(packed);
    return { states: this.model.encode(batch, options), layout: batch.layout };
  }

  /** Each text's first token → outputs [B, outputs]. */
  protected firstTokenOutputs(texts: readonly EncodedText[], options: ForwardOptions): Tensor {
    const { states, layout } = this.encodeTexts(texts, options);
    return this.outputs(this.model.firstTokens(states, layout), options);
  }

  /** Final states [M, E] → dropout → the linear layer [M, outputs]. */
  protected outputs(states: Tensor, options: ForwardOptions): Tensor {
    const { numHiddenLayers, decHiddenLayers, hiddenDropoutProb } = this.model.config;
    // Past the places of all layers and of both embeddings.
    const sites = new DropoutSites(options, numHiddenLayers + decHiddenLayers + 2);
    return nn.linear(
      nn.dropout(states, sites.rate(hiddenDropoutProb), sites.next()),
      this.#weight,
      this.#bias,
    );
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
 * Loads what `save` wrote, for a task of one kind.
 * @param path model folder, or run folder
 * @throws ConfigError when the model was made for no task of that kind, CheckpointError when a file is damaged
 */
export function loadEncoderTask<Kind extends HeadTask['kind'], Made>(
  path: string,
  kind: Kind,
  make: (parts: TaskParts<Extract<HeadTask, { kind: Kind }>>) => Made,
): Made {
  const folder = resolveModelFolder(path);
  const file = readTaskFile(folder);
  if (file?.task.kind !== kind)
    throw new ConfigError(
      `${folder} has no task.json of a ${kind} task${file ? `, but of ${file.task.kind}` : ''}. ` +
        '`plug finetune` makes one.',
    );
  const tokenizer = loadTokenizer(folder);
  const model = loadModel(folder, { precision: readStoredPrecision(folder) });
  try {
    checkVocabulary(folder, tokenizer, model.config.originalVocabSize);
    const headPath = join(folder, headFile);
    using head = openSafetensors(headPath);
    const task = file.task as Extract<HeadTask, { kind: Kind }>;
    return make({
      model,
      tokenizer,
      task,
      maxLength: file.maxLength,
      head: storedParameters(head, headPath),
    });
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

/** Far below every logit, so that its probability is 0 in every dtype. */
const impossible = -1e4;

/**
 * Values of rows of different lengths, one after another [N] → [rows, longest]; what a row lacks is impossible for a
 * softmax.
 */
export function paddedRows(values: Tensor, lengths: readonly number[]): Tensor {
  const longest = Math.max(...lengths);
  const filled = cat([values, full([1], impossible, values.dtype)]);
  const filler = lengths.reduce((sum, length) => sum + length, 0);
  const indices = new Int32Array(lengths.length * longest).fill(filler);
  let at = 0;
  for (const [row, length] of lengths.entries())
    for (let column = 0; column < length; column++, at++) indices[row * longest + column] = at;
  return filled.indexSelect(0, indexTensor(indices)).reshape(lengths.length, longest);
}
