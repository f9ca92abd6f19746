// Requests of the page that judges texts.
import { request } from './api.js';

export interface LabelScore {
  label: string;
  probability: number;
}
export type TextOrPair = string | { text: string; textPair: string };

/** A character or word, and by how much the label's log-probability falls without it; null: not read. */
export interface SaliencyUnit {
  text: 0 | 1;
  start: number;
  end: number;
  effect: number | null;
  maskedProbability: number | null;
}
export interface Saliency {
  label: string;
  probability: number;
  labels: LabelScore[];
  units: SaliencyUnit[];
}

type Labelled = { data: { labels: LabelScore[] }[] };

async function labelled(path: string, body: object, signal: AbortSignal): Promise<LabelScore[]> {
  const { data } = (await (await request(path, body, signal)).json()) as Labelled;
  return data[0]?.labels ?? [];
}

export function score(
  body: { model?: string; input: string; labels: string[] },
  signal: AbortSignal,
): Promise<LabelScore[]> {
  return labelled('/v1/score', body, signal);
}

export function classify(
  { model, input }: { model?: string; input: TextOrPair },
  signal: AbortSignal,
): Promise<LabelScore[]> {
  return labelled('/v1/classify', { ...(model && { model }), input: [input] }, signal);
}

export async function explain(
  body: { model?: string; input: TextOrPair; labels?: string[]; label?: string },
  signal: AbortSignal,
): Promise<Saliency> {
  return (await (await request('/v1/saliency', body, signal)).json()) as Saliency;
}
