// What the benchmarks use of OpenPLUG, imported in one place.
import { fileURLToPath } from 'node:url';

/** The command `plug`, for Node to run. */
export const program = fileURLToPath(new URL('../../packages/plug/bin/plug.js', import.meta.url));

export {
  bytesOf,
  loadModel,
  newModel,
  openWeights,
  readStoredPrecision,
  type StoredPrecision,
  saveModel,
  storedPrecisions,
  writeModelFolder,
} from '../../packages/plug/dist/checkpoint/index.js';
export { formatColumns } from '../../packages/plug/dist/config/index.js';
export {
  readPoetryDocuments,
  type TokenDocument,
  tokenCorpusFromDocuments,
} from '../../packages/plug/dist/corpus/index.js';
export {
  accuracy,
  type ClassifierExample,
  majorityAccuracy,
  markdownTable,
  trainBigramClassifier,
} from '../../packages/plug/dist/evaluate/index.js';
export {
  type FinetuneTask,
  findTask,
  readExamples,
  runTrials,
  type Spread as SeedSpread,
  searchBest,
  seedChanges,
  spreadOf as seedSpreadOf,
  type TaskExample,
} from '../../packages/plug/dist/finetune/index.js';
export { generate } from '../../packages/plug/dist/generate/index.js';
export {
  countParameters,
  decaysWeight,
  indexTensor,
  LoraLayers,
  lmLoss,
  mlmLoss,
  newParameters,
  type PlugConfig,
  PlugModel,
  packTexts,
  plugConfig,
  plugConfigOfSize,
  textBatch,
} from '../../packages/plug/dist/model/index.js';
export { trainingMemory, trainingOperations } from '../../packages/plug/dist/plan/index.js';
export { chooseDType } from '../../packages/plug/dist/pretrain/index.js';
export {
  batchStream,
  createStage2Sampler,
  packStage2,
} from '../../packages/plug/dist/pretrain/samples/index.js';
export { keyedRandom } from '../../packages/plug/dist/random.js';
export {
  loadTokenizer,
  type Tokenizer,
  tokenizerFromVocabulary,
  trainVocabulary,
} from '../../packages/plug/dist/text/index.js';
