// What the model writes on the way: continuations of the same few held-out sources at each evaluation, so that one can
// read how it learns. Drawn with the published settings and always the same random numbers: what changes from one
// evaluation to the next is the model. Uses no random state of the training and leaves none behind.
import { type GenerationSettings, Writers } from '../generate/index.js';
import type { ForwardOptions, PlugModel } from '../model/index.js';
import type { Tokenizer } from '../text/index.js';
import type { TextSample } from '../train/index.js';
import type { Stage2Sampler } from './samples/index.js';

const numContinuations = 3;
const maxTokens = 48;

/** A function that writes a continuation of each source with the model as it is at that time. */
export function continuationWriter(
  model: PlugModel,
  tokenizer: Tokenizer,
  heldOut: Stage2Sampler,
  forward: ForwardOptions,
): () => TextSample[] {
  const count = Math.min(numContinuations, heldOut.samplesPerEpoch);
  const samples = Array.from({ length: count }, (_, index) => heldOut.sample(index, { maskSource: false }));
  const positions = model.config.maxPositionEmbeddings;
  const settings: GenerationSettings = {
    maxLength: Math.min(maxTokens, positions),
    refreshTokens: 0,
    windowTokens: positions,
  };
  // Without [CLS] and [SEP]; unknown characters stay visible as [UNK].
  const decoded = (ids: Int32Array): string => tokenizer.decode(ids, { skipSpecialTokens: false });
  return () => {
    using writers = new Writers(model, tokenizer, {
      maxRows: count,
      cacheBytes: Number.POSITIVE_INFINITY,
      forward,
    });
    const written = new Map<number, string>();
    for (const { sourceIds } of samples)
      written.set(writers.add({ prompt: { ids: sourceIds }, settings }).id, '');
    while (!writers.isIdle)
      for (const { request, text } of writers.step()) written.set(request, written.get(request) + text);
    const texts = [...written.values()];
    return samples.map(({ sourceIds, targetIds }, index) => ({
      source: decoded(sourceIds.subarray(1, -1)),
      written: texts[index] ?? '',
      target: decoded(targetIds.subarray(0, -1)),
    }));
  };
}
