export {
  indexTensor,
  type PackedTexts,
  packTexts,
  type TextBatch,
  type TextLayout,
  textBatch,
  textLayout,
} from './batch.js';
export { DecoderCache } from './cache.js';
export {
  decoderConfig,
  type PlugConfig,
  parsePlugConfig,
  plugConfig,
  plugConfigToJson,
  requireNoPrompt,
  requirePlugDecoder,
} from './config.js';
export { type ForwardOptions, inference, inferenceIn } from './forward.js';
export {
  type LinearLayers,
  packedLayers,
  packedName,
  storedLayers,
  tiedPrecision,
  trainableLayers,
} from './layers.js';
export {
  adapterPrefix,
  adapterProduct,
  countAdapters,
  frozenLayers,
  isAdapter,
  LoraLayers,
  type LoraSettings,
} from './lora.js';
export { lmLoss, mlmLoss, sentenceLoss } from './losses.js';
export { listParameters, type ParameterInfo } from './parameter-list.js';
export {
  choosingParameters,
  decaysWeight,
  type Initializer,
  newParameters,
  ParameterScope,
  type ParameterSource,
  storedParameters,
} from './parameters.js';
export { PlugModel } from './plug.js';
export { promptIds, promptLayers, promptParameter } from './prompt.js';
export { countParameters, paddedVocabSize, plugConfigOfSize, type SizeName, sizeNames } from './sizes.js';
export { SlotCache } from './slot-cache.js';
