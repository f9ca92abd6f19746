// What is copied when a model is loaded: all of it, adapters alone, or frozen weights in another dtype.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  frozenLayers,
  LoraLayers,
  listParameters,
  plugConfigOfSize,
  trainableLayers,
} from '../model/index.js';
import { bytesToLoad } from './load-memory.js';

describe('bytesToLoad', () => {
  const config = plugConfigOfSize('nano', 100, {});
  const list = listParameters(config);
  const sizeOf = ({ shape }: { shape: readonly number[] }) => shape.reduce((all, size) => all * size, 1);
  const weights = {
    names: () => list.map(({ name }) => name),
    info: (name: string) => ({
      dtype: 'float32' as const,
      shape: [...list.find((parameter) => parameter.name === name)!.shape],
    }),
  };
  const total = list.reduce((sum, parameter) => sum + sizeOf(parameter), 0);
  const lora = { rank: 2, alpha: 2, targets: [], base: 'x' };

  it('counts every parameter that is trained, and not what is left out', () => {
    assert.equal(bytesToLoad(weights, 'float32', trainableLayers), 4 * total);
    const decoder = list.filter(({ name }) => name.startsWith('decoder.'));
    const without = total - decoder.reduce((sum, parameter) => sum + sizeOf(parameter), 0);
    const leftOut = (name: string) => name.startsWith('decoder.');
    assert.equal(bytesToLoad(weights, 'float32', trainableLayers, leftOut), 4 * without);
  });

  it('counts nothing of what stays on the pages of the file', () => {
    assert.equal(bytesToLoad(weights, 'float32', frozenLayers), 0);
    assert.equal(bytesToLoad(weights, 'float32', new LoraLayers(lora, 'float32')), 0);
  });

  it('counts what is held in another dtype', () => {
    const linear = list.filter(({ name, shape }) => shape.length === 2 && !name.includes('embeddings'));
    const held = linear.reduce((sum, parameter) => sum + 2 * sizeOf(parameter), 0);
    assert.equal(bytesToLoad(weights, 'float32', new LoraLayers(lora, 'bfloat16')), held);
  });
});
