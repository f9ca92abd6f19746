// Nano models and tiny tasks for the tests of this folder.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setNumThreads } from '@openplug/torch';
import { saveModel } from '../checkpoint/index.js';
import { newParameters, type PlugConfig, PlugModel, plugConfig } from '../model/index.js';
import { keyedRandom } from '../random.js';
import { tokenizerFromVocabulary } from '../text/index.js';
import type {
  ClassificationExample,
  ClassificationTask,
  GenerationExample,
  GenerationTask,
} from './index.js';

setNumThreads(1);

const characters = [...'春江潮水連海平明月共生'];
export const testTokenizer = tokenizerFromVocabulary([
  '[PAD]',
  '[UNK]',
  '[CLS]',
  '[SEP]',
  '[MASK]',
  ...characters,
]);

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'plug-finetune-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a random model with its tokenizer; returns the folder. */
export function writeTestModel(folder: string, changes: Partial<PlugConfig> = {}): string {
  const config = plugConfig({
    vocabSize: testTokenizer.vocabSize,
    hiddenSize: 32,
    numAttentionHeads: 4,
    numHiddenLayers: 1,
    decHiddenLayers: 1,
    maxPositionEmbeddings: 24,
    initializerRange: 0.05,
    ...changes,
  });
  using model = new PlugModel(config, newParameters(7));
  const path = join(folder, 'start');
  saveModel(path, model);
  testTokenizer.save(path);
  return path;
}

/** Does the text mention 春? */
export const springTask: ClassificationTask = {
  name: 'spring',
  kind: 'classification',
  columns: { text: 'line', label: 'season' },
  labels: ['other', 'spring'],
  metric: 'accuracy',
};

/** Does the second text begin with the character that the first ends with? */
export const pairTask: ClassificationTask = {
  name: 'chain',
  kind: 'classification',
  columns: { text: 'a', textPair: 'b', label: 'linked' },
  labels: ['no', 'yes'],
  sentenceClasses: ['random', 'next'],
  metric: 'accuracy',
};

export const copyTask: GenerationTask = {
  name: 'copy',
  kind: 'generation',
  columns: { source: 'from', target: 'to' },
  metric: 'loss',
};

function randomText(seed: number, index: number, from: readonly string[]): string {
  const random = keyedRandom(seed, index);
  return Array.from({ length: random.integer(3, 9) }, () => from[random.integer(0, from.length - 1)]).join(
    '',
  );
}

/** Half of them with 春 somewhere. */
export function springExamples(seed: number, count: number): ClassificationExample[] {
  const others = characters.slice(1);
  return Array.from({ length: count }, (_, index) => {
    const text = [...randomText(seed, index, others)];
    const label = index % 2;
    if (label === 1) text[keyedRandom(seed, index, 1).integer(0, text.length - 1)] = '春';
    return { text: text.join(''), label };
  });
}

/** Targets of one repeated character that is the source's first. */
export function copyExamples(seed: number, count: number): GenerationExample[] {
  return Array.from({ length: count }, (_, index) => {
    const source = randomText(seed, index, characters);
    return { source, target: source.slice(0, 1).repeat(3) };
  });
}
