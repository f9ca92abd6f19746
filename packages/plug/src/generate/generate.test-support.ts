// A small random model in float64, its tokenizer, and decoding done the plain way: no cache, one row, one token at
// a time over all logits. What the tests compare with.
import { noGrad, scope, type Tensor } from '@openplug/torch';
import {
  type ForwardOptions,
  indexTensor,
  type PlugConfig,
  type PlugModel,
  packTexts,
  textBatch,
} from '../model/index.js';
import { smallModel } from '../model/small-models.test-support.js';
import { type Tokenizer, tokenizerFromVocabulary } from '../text/index.js';

export const exact: ForwardOptions = { computeDType: 'float64' };

/** 33 entries: characters, an Ext-B character, words and pieces of words, punctuation. */
export const tokens = [
  ...['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'],
  ...'春江潮水連海平月共生𠮷',
  ...['，', '。', '“', '”', '"', ',', '.', '(', ')', '3', '14'],
  ...['poem', '##s', '##ing', 'a', 'to', 'sing'],
];

export const tokenizer: Tokenizer = tokenizerFromVocabulary(tokens);

/** The model that goes with `tokenizer`: 33 real entries of 40, 24 positions. */
export function writer(seed = 1, changes: Partial<PlugConfig> = {}): PlugModel {
  return smallModel(changes, { seed });
}

/** The model's logits [V] for the token after `target` (which begins with [CLS]), recomputed from nothing. */
export function plainLogits(
  model: PlugModel,
  source: readonly number[],
  target: readonly number[],
  forward = exact,
): number[] {
  return noGrad(() =>
    scope(() => {
      const batch = textBatch(packTexts([source]));
      const encoded: Tensor = model.encode(batch, forward);
      const decoded = model.decode(textBatch(packTexts([target])), encoded, batch.layout, forward);
      const last = decoded.indexSelect(0, indexTensor([target.length - 1]));
      return model.lmLogits(last, forward).toArray();
    }),
  );
}

export function logSumExp(values: readonly number[]): number {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}
