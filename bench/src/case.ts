// What both sides of a comparison are given: a folder with the initial weights under their published names, and
// `case.json` with the inputs. The peer reads the same two files.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { newParameters, PlugModel, saveModel } from './openplug.js';
import {
  type ComputeDType,
  promptIds,
  type Shape,
  special,
  type TrainingBatch,
  trainingBatch,
} from './shapes.js';

export interface BenchCase {
  /** Model folder: `config.json`, `model.safetensors`. */
  model: string;
  dtype: ComputeDType;
  /** All cores, on both sides. */
  threads: number;
  learningRate: number;
  weightDecay: number;
  clipGradNorm: number;
  batch: TrainingBatch;
  prompt: number[];
  newTokens: number;
  /** Never written: [PAD], [UNK], [CLS], [MASK], and [SEP], so that all texts are equally long. */
  forbiddenIds: number[];
}

/** A case on disk, gone at the end of the block. */
export interface StoredCase extends Disposable {
  path: string;
  value: BenchCase;
}

const seed = 1;

/** Writes the weights and inputs of a shape; `dropout` is the probability that training uses. */
export function storeCase(shape: Shape, dtype: ComputeDType, dropout = 0.1): StoredCase {
  const folder = mkdtempSync(join(tmpdir(), 'openplug-bench-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    using model = new PlugModel(
      { ...shape.config, hiddenDropoutProb: dropout, attentionProbsDropoutProb: dropout },
      newParameters(seed),
    );
    saveModel(folder, model);
    const value: BenchCase = {
      model: folder,
      dtype,
      threads: availableParallelism(),
      learningRate: 1e-3,
      weightDecay: 0.01,
      clipGradNorm: 1,
      batch: trainingBatch(shape, seed),
      prompt: promptIds(shape, seed + 1),
      newTokens: shape.newTokens,
      forbiddenIds: Object.values(special),
    };
    const path = join(folder, 'case.json');
    writeFileSync(path, JSON.stringify(value));
    return { path, value, [Symbol.dispose]: remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** The case that this process was started with. */
export function givenCase(): BenchCase {
  return JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as BenchCase;
}
