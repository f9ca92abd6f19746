// What a pipeline and its worker say to each other.
import type { PlainError } from '../errors.js';
import type { PipelineKind } from './tasks.js';

/** Given to the worker when it starts. */
export interface WorkerStart {
  kind: PipelineKind;
  model: string;
  options: object;
  threads: number | undefined;
}

export interface WorkerRequest {
  id: number;
  inputs: readonly unknown[];
}

export type WorkerReply =
  | { ready: true }
  | { failed: PlainError }
  | { id: number; outputs: readonly unknown[] }
  | { id: number; error: PlainError };
