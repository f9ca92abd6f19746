// Trained prompt vectors in front of a source text (P-tuning: Liu et al. 2021, arXiv 2103.10385; on a frozen model, prompt
// tuning: Lester et al. 2021, arXiv 2104.08691). They take the place of word embeddings, with positions as tokens have.
import { aten, type Tensor } from '@openplug/torch';
import { ShapeError } from '../errors.js';
import type { PromptPlaces } from './batch.js';
import { type LinearLayers, trainableLayers } from './layers.js';

/** The vectors, [promptTokens, E]. */
export const promptParameter = 'bert.embeddings.prompt_embeddings.weight';

/** What stands for the vectors of a model among a source's token ids, right after [CLS]: −1, −2, … */
export function promptIds({ promptTokens = 0 }: { promptTokens?: number | undefined }): number[] {
  return Array.from({ length: promptTokens }, (_, row) => -1 - row);
}

/** Layers of a frozen model of which only the prompt vectors are trained. */
export const promptLayers: LinearLayers = {
  ...trainableLayers,
  trains: (name) => name === promptParameter,
};

/**
 * Puts prompt vectors in their places among embedded words [N, E].
 * @param vectors undefined for a model that has none
 * @throws ShapeError when an id stands for a vector that is not there
 */
export function withPrompt(
  words: Tensor,
  { places, rows, count }: PromptPlaces,
  vectors: Tensor | undefined,
): Tensor {
  const held = vectors?.shape[0] ?? 0;
  if (count > held)
    throw new ShapeError(
      `A text has the id ${-count}: ids below 0 stand for prompt vectors, of which the model has ${held} (prompt_tokens). Was it made for another model?`,
    );
  return aten.index_copy(words, 0, places, vectors!.indexSelect(0, rows).to(words.dtype));
}
