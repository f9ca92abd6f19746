export { BertNormalizer, type NormalizationOptions } from './bert-normalizer.js';
export {
  type DecodeOptions,
  type EncodeOptions,
  loadTokenizer,
  SPECIAL_TOKENS,
  type SpecialRole,
  type Tokenizer,
  type TokenizerOptions,
  tokenizerFromVocabulary,
} from './tokenizer.js';
export { type TrainVocabularyOptions, trainVocabulary } from './train-vocabulary.js';
