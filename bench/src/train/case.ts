// What the sides of the training benchmark are given.
import type { ComputeDType, TrainingBatch } from '../shapes.js';

export interface TrainCase {
  precision: ComputeDType;
  learningRate: number;
  weightDecay: number;
  clipGradNorm: number;
  batch: TrainingBatch;
  /** Ours alone: recompute layers in the backward pass. Default false. */
  recomputeLayers?: boolean;
}
