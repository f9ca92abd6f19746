// Our side of the decoding benchmark: greedy generation with the cache, encoder included, on request.
import { setNumThreads } from '@openplug/torch';
import { givenCase } from '../case.js';
import { answer } from '../harness/side.js';
import { generate, loadModel, type Tokenizer, tokenizerFromVocabulary } from '../openplug.js';
import { special } from '../shapes.js';

/** A vocabulary of single Chinese characters with the special tokens in front. */
function madeTokenizer(vocabSize: number): Tokenizer {
  const tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  // The 20,902 characters of the first Unicode version, then those of Extension A.
  const codePoint = (index: number): number => (index < 20_902 ? 0x4e00 + index : 0x3400 + index - 20_902);
  for (let index = 0; tokens.length < vocabSize; index++) tokens.push(String.fromCodePoint(codePoint(index)));
  return tokenizerFromVocabulary(tokens);
}

const given = givenCase();
setNumThreads(given.threads);
const model = loadModel(given.model);
const tokenizer = madeTokenizer(model.config.originalVocabSize);
const settings = {
  temperature: 0,
  maxLength: given.newTokens,
  minLength: given.newTokens,
  windowTokens: Math.max(given.prompt.length, special.mask),
  refreshTokens: given.newTokens,
};
await answer({
  async generate() {
    const started = performance.now();
    const { texts } = await generate(model, tokenizer, { ids: given.prompt }, settings, {
      forward: { computeDType: given.dtype },
    });
    return { seconds: (performance.now() - started) / 1000, ids: [...texts[0]!.tokenIds] };
  },
});
