// Layer-wise learning-rate decay (Howard and Ruder 2018, arXiv 1801.06146; for BERT Sun et al. 2019, arXiv 1905.05583):
// the lower a layer, the more general what it knows, and the slower it is to change.
import type { PlugConfig } from '../model/index.js';

/**
 * Factor on the rate of a parameter: decay^(encoder layers above it), the embeddings below all layers. Heads and the
 * decoder learn at the full rate.
 */
export function layerRate(name: string, decay: number, { numHiddenLayers }: PlugConfig): number {
  const layer = /(?:^|\.)bert\.encoder\.layer\.(\d+)\./.exec(name);
  if (layer) return decay ** (numHiddenLayers - 1 - Number(layer[1]));
  return /(?:^|\.)bert\.embeddings\./.test(name) ? decay ** numHiddenLayers : 1;
}
