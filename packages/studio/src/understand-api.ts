// Requests of the page that judges texts.
import type { Labelled } from 'openplug/client';
import { ask, client } from './api.js';

export type LabelScore = Labelled['data'][number]['labels'][number];
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

export async function score(
  body: { model?: string; input: string; labels: string[] },
  signal: AbortSignal,
): Promise<LabelScore[]> {
  return labelsOf(await client().score(body, { signal }));
}

export async function classify(
  { model, input }: { model?: string; input: TextOrPair },
  signal: AbortSignal,
): Promise<LabelScore[]> {
  return labelsOf(await client().classify({ ...(model && { model }), input: [input] }, { signal }));
}

function labelsOf({ data }: Labelled): LabelScore[] {
  return data[0]?.labels ?? [];
}

export function explain(
  body: { model?: string; input: TextOrPair; labels?: string[]; label?: string },
  signal: AbortSignal,
): Promise<Saliency> {
  return ask('/v1/saliency', body, signal);
}
