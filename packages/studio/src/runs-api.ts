// The routes of runs, as the page of runs uses them.
import { type Model, request } from './api.js';

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

export async function listRuns(signal: AbortSignal): Promise<RunListing> {
  return (await request('/v1/runs', undefined, signal)).json() as Promise<RunListing>;
}

/** The curves with what came since; all of them anew when the server keeps fewer points than before. */
export async function followCurves(
  id: string,
  known: Curves | undefined,
  signal: AbortSignal,
): Promise<Curves> {
  // The last point may have grown: it is asked for again.
  const after = known ? Math.floor(known.lastStep / known.stride) * known.stride : 0;
  const more = await ask(id, after);
  if (!known || after === 0) return more;
  if (more.stride !== known.stride || more.lastStep < known.lastStep) return ask(id, 0);
  const before = (point: Point): boolean => point.step <= after;
  return {
    ...more,
    points: [...known.points.filter(before), ...more.points],
    evaluations: [...known.evaluations.filter(before), ...more.evaluations],
  };

  async function ask(run: string, step: number): Promise<Curves> {
    const answer = await request(
      `/v1/runs/${encodeURIComponent(run)}/metrics?after=${step}`,
      undefined,
      signal,
    );
    return answer.json() as Promise<Curves>;
  }
}

export async function listSamples(id: string, signal: AbortSignal): Promise<SamplesAt[]> {
  const answer = await request(`/v1/runs/${encodeURIComponent(id)}/samples`, undefined, signal);
  return ((await answer.json()) as { data: SamplesAt[] }).data;
}

/** Has the server load the model of a finished run. */
export async function loadRun(id: string): Promise<Model> {
  return (await request('/v1/models/load', { folder: id })).json() as Promise<Model>;
}
