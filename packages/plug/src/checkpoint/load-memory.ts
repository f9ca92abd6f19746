// What loading a model takes of memory: what is copied there. Weights that are only read stay on the file's pages.
import type { DType } from '@openplug/torch';
import type { LinearLayers } from '../model/index.js';
import type { TensorSource } from './tensor-source.js';
import { bytesOf } from './weight-format.js';

/**
 * Bytes that stored plain weights take in memory.
 * @param dtype of the parameters
 * @param leftOut whether a tensor is not loaded
 */
export function bytesToLoad(
  weights: Pick<TensorSource, 'names' | 'info'>,
  dtype: DType,
  { trains, frozenDType = dtype }: Pick<LinearLayers, 'trains' | 'frozenDType'>,
  leftOut: (name: string) => boolean = () => false,
): number {
  return weights
    .names()
    .filter((name) => !leftOut(name))
    .reduce((total, name) => {
      const { shape, dtype: stored } = weights.info(name);
      if (trains?.(name) !== false) return total + bytesOf({ dtype, shape });
      const isLinear = shape.length === 2 && !name.includes('embeddings');
      const held = isLinear ? frozenDType : dtype;
      return held === stored ? total : total + bytesOf({ dtype: held, shape });
    }, 0);
}
