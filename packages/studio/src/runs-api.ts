// The routes of runs, as the page of runs uses them.
import { ask, client, type Model } from './api.js';

export interface Run {
  id: string;
  kind: 'pretrain' | 'finetune';
  stage?: number;
  task?: string;
  state: 'running' | 'finished' | 'stopped';
  step: number;
  totalSteps?: number;
  /** Last step with the masked-LM loss. */
  switchStep?: number;
  tokensPerSecond?: number;
  stepsPerSecond?: number;
  secondsLeft?: number;
  loss?: number;
  evaluation?: { step: number; scores: Record<string, number> };
  /** The page that the finished model is for. */
  opens?: 'write' | 'understand';
  settings: Record<string, string | number | boolean>;
  updatedAt: string;
}
/** Step, seconds in training, and what was measured there. */
export type Point = { step: number; seconds: number } & Record<string, number>;
export interface Curves {
  /** Steps that one point stands for. */
  stride: number;
  lastStep: number;
  points: Point[];
  evaluations: Point[];
}
export interface RunListing {
  data: Run[];
  truncated: boolean;
}
export interface SamplesAt {
  step: number;
  samples: { source: string; written: string; target: string }[];
}

export function listRuns(signal: AbortSignal): Promise<RunListing> {
  return ask('/v1/runs', undefined, signal);
}

/** The curves with what came since; all of them anew when the server keeps fewer points than before. */
export async function followCurves(
  id: string,
  known: Curves | undefined,
  signal: AbortSignal,
): Promise<Curves> {
  // The last point may have grown: it is asked for again.
  const after = known ? Math.floor(known.lastStep / known.stride) * known.stride : 0;
  const more = await curvesFrom(after);
  if (!known || after === 0) return more;
  if (more.stride !== known.stride || more.lastStep < known.lastStep) return curvesFrom(0);
  const before = (point: Point): boolean => point.step <= after;
  return {
    ...more,
    points: [...known.points.filter(before), ...more.points],
    evaluations: [...known.evaluations.filter(before), ...more.evaluations],
  };

  function curvesFrom(step: number): Promise<Curves> {
    return ask(`/v1/runs/${encodeURIComponent(id)}/metrics?after=${step}`, undefined, signal);
  }
}

export async function listSamples(id: string, signal: AbortSignal): Promise<SamplesAt[]> {
  const path = `/v1/runs/${encodeURIComponent(id)}/samples`;
  return (await ask<{ data: SamplesAt[] }>(path, undefined, signal)).data;
}

/** Has the server load the model of a finished run. */
export function loadRun(id: string): Promise<Model> {
  return client().loadModel({ folder: id });
}
