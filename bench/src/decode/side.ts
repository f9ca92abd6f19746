// Our side of the decoding benchmark: greedy generation with the cache, encoder included, on request.
import { setNumThreads } from '@openplug/torch';
import { givenCase } from '../case.js';
import { answer } from '../harness/side.js';
import { generate, loadModel, loadTokenizer } from '../openplug.js';
import { special } from '../shapes.js';
import type { DecodeCase } from './case.js';
import { readRate } from './read-rate.js';

const given = givenCase<DecodeCase>();
setNumThreads(given.threads);
const model = loadModel(given.model, { precision: given.precision });
const tokenizer = loadTokenizer(given.model);
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
  readRate: () => ({ bytesPerSecond: readRate() }),
});
