// What the benchmarks use of OpenPLUG, imported in one place.
export { loadModel, saveModel } from '../../packages/plug/dist/checkpoint/index.js';
export { formatColumns } from '../../packages/plug/dist/config/index.js';
export { generate } from '../../packages/plug/dist/generate/index.js';
export {
  decaysWeight,
  indexTensor,
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
export { keyedRandom } from '../../packages/plug/dist/random.js';
export { type Tokenizer, tokenizerFromVocabulary } from '../../packages/plug/dist/text/index.js';
