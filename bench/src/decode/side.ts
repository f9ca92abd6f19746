// Our side of the decoding benchmark: greedy generation with the cache, encoder included, on request.
import { setNumThreads } from '@openplug/torch';
import { givenCase } from '../case.js';
import { answer } from '../harness/side.js';
import { generate, loadModel, type Tokenizer, tokenizerFromVocabulary } from '../openplug.js';
import { special } from '../shapes.js';
import type { DecodeCase } from './case.js';
import { readRate } from './read-rate.js';

/** A vocabulary of single Chinese characters with the special tokens in front. */
function madeTokenizer(vocabSize: number): Tokenizer {
  const tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  // The 20,902 characters of the first Unicode version, then those of Extension A.
  const codePoint = (index: number): number => (index < 20_902 ? 0x4e00 + index : 0x3400 + index - 20_902);
  for (let index = 0; tokens.length < vocabSize; index++) tokens.push(String.fromCodePoint(codePoint(index)));
  return tokenizerFromVocabulary(tokens);
}

const given = givenCase<DecodeCase>();
setNumThreads(given.threads);
const model = loadModel(given.model, { precision: given.precision });
const tokenizer = madeTokenizer(model.config.originalVocabSize);
const prompts = given.prompts.map((ids) => ({ ids }));
const windowTokens = Math.max(...given.prompts.map((prompt) => prompt.length), special.mask);

async function written(newTokens: number): Promise<{ seconds: number; ids: number[] }> {
  const settings = {
    temperature: 0,
    maxLength: newTokens,
    minLength: newTokens,
    windowTokens,
    refreshTokens: newTokens,
  };
  const started = performance.now();
  const results = await generate(model, tokenizer, prompts, settings);
  const seconds = (performance.now() - started) / 1000;
  return { seconds, ids: results.flatMap(({ texts }) => [...texts[0]!.tokenIds]) };
}

await answer({
  /** All tokens; and apart, the time up to the first. */
  async generate() {
    const { seconds: firstSeconds } = await written(1);
    return { ...(await written(given.newTokens)), firstSeconds };
  },
  first: () => written(1),
  readRate: () => ({ bytesPerSecond: readRate() }),
});
