// What the server tells of results, as far as the page shows it.
import { ask } from './api.js';

export interface Start {
  model: string;
  fromScratch: boolean;
  loraRank: number;
  headOnly: boolean;
}
export type FigureName =
  | 'accuracy'
  | 'macroF1'
  | 'f1'
  | 'exactMatch'
  | 'bitsPerCharacter'
  | 'perplexity'
  | 'loss'
  | 'standardError'
  | 'bleu4'
  | 'rouge1'
  | 'rouge2'
  | 'rougeL'
  | 'distinct1'
  | 'distinct2';
export interface Result {
  id: string;
  run: string;
  split: string;
  task: { name: string; kind: 'classification' | 'choice' | 'span' | 'generation' };
  start: Start;
  figures: Partial<Record<FigureName, number>>;
  interval?: { low: number; high: number };
  numExamples: number;
  truncated: number;
  numWritten?: number;
  shots?: number;
  trials?: {
    kind: 'seeds' | 'search';
    standardDeviation?: number;
    members: { id: string; value?: number; settings: string }[];
    best: string;
  };
  partOf?: string;
  hasErrors: boolean;
  finishedAt: string;
}
export interface Label {
  name: string;
  word?: string;
}
export interface ResultDetail extends Result {
  labels?: Label[];
  confusion?: number[][];
  settings: Record<string, string | number | boolean>;
}
export interface BoardCell {
  value: number;
  id?: string;
  split?: string;
  plusMinus?: number;
  numSeeds?: number;
  bestOf?: number;
}
export interface BoardRow {
  name: string;
  own: boolean;
  mean?: number;
  missing: string[];
  cells: Record<string, BoardCell>;
  start?: Start;
}
export interface Board {
  tasks: { name: string; title: string }[];
  rows: BoardRow[];
}
export interface Overview {
  board: Board;
  results: Result[];
  problems: { file: string; message: string }[];
}
export interface ErrorRow {
  id: string | number;
  input: Record<string, unknown>;
  prediction: string | number;
  probability?: number;
  gold?: unknown;
}
export interface ErrorPage {
  total: number;
  offset: number;
  rows: ErrorRow[];
}
/** Empty texts ask for all. */
export interface ErrorFilter {
  label: string;
  predicted: string;
  search: string;
}

export async function getOverview(signal: AbortSignal): Promise<Overview> {
  const [board, listed] = await Promise.all([
    ask<Board>('/v1/board', undefined, signal),
    ask<Pick<Overview, 'results' | 'problems'>>('/v1/results', undefined, signal),
  ]);
  return { board, ...listed };
}

export function getResult(id: string, signal: AbortSignal): Promise<ResultDetail> {
  return ask(`/v1/results/${encodeURIComponent(id)}`, undefined, signal);
}

export function getErrors(
  id: string,
  filter: ErrorFilter,
  page: { offset: number; limit: number },
  signal: AbortSignal,
): Promise<ErrorPage> {
  const query = new URLSearchParams({ offset: String(page.offset), limit: String(page.limit) });
  for (const [name, value] of Object.entries(filter)) if (value !== '') query.set(name, value);
  return ask(`/v1/results/${encodeURIComponent(id)}/errors?${query}`, undefined, signal);
}
