// What the measured side of the `plan` benchmark is given.
import type { PlugConfig } from '../openplug.js';
import type { ComputeDType } from '../shapes.js';

export interface PlanCase {
  config: PlugConfig;
  dtype: ComputeDType;
  batch: number;
  sourceLength: number;
  targetLength: number;
  recompute: boolean;
  threads: number;
}
