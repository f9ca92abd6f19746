// What parameters a configuration has, without making any: the model is built as usual, of a source that takes notes.
import { empty } from '@openplug/torch';
import type { PlugConfig } from './config.js';
import { type LinearLayers, trainableLayers } from './layers.js';
import type { Initializer } from './parameters.js';
import { PlugModel } from './plug.js';

/** One parameter of a model. */
export interface ParameterInfo {
  /** Published name. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly initializer: Initializer;
  /** The weight of a linear layer, a table of embeddings, or anything else: biases, norms, unused weights. */
  readonly role: 'linear' | 'table' | 'other';
}

/** All parameters in the order in which the model is built, the tied output embedding counted once. */
export function listParameters(config: PlugConfig): ParameterInfo[] {
  const list: ParameterInfo[] = [];
  let role: ParameterInfo['role'] = 'other';
  const as = <Result>(next: ParameterInfo['role'], body: () => Result): Result => {
    role = next;
    try {
      return body();
    } finally {
      role = 'other';
    }
  };
  const layers: LinearLayers = {
    ...trainableLayers,
    linear: (...layer) => as('linear', () => trainableLayers.linear(...layer)),
    table: (...table) => as('table', () => trainableLayers.table(...table)),
  };
  using nothing = empty([0]);
  const source = {
    get(name: string, shape: readonly number[], initializer: Initializer) {
      list.push({ name, shape, initializer, role: shape.length === 2 ? role : 'other' });
      return nothing;
    },
  };
  new PlugModel(config, source, layers);
  return list;
}
