// Requests of the page about the model itself, and of its calculator.
import { ask } from './api.js';

/** The configuration, as far as the page tells it. */
export interface ModelConfig {
  vocabSize: number;
  originalVocabSize: number;
  hiddenSize: number;
  numAttentionHeads: number;
  intermediateSize: number;
  numHiddenLayers: number;
  decHiddenLayers: number;
  maxPositionEmbeddings: number;
  preLn: boolean;
}
export type ModelPart = 'embeddings' | 'encoder' | 'decoder' | 'maskedLmHead' | 'sentenceHead' | 'pooler';
export interface StoredTensor {
  name: string;
  dtype: string;
  shape: number[];
  bytes: number;
  part: ModelPart;
  layer?: number;
  parameters: number;
}
export interface ModelParameters {
  model: string;
  config: ModelConfig;
  /** How the weights are packed on disk, or "plain". */
  stored: string;
  parameters: number;
  files: string[];
  bytes: number;
  heldBytes?: number;
  totals: Record<string, number>;
  tensors: StoredTensor[];
}
export interface TokenizedText {
  tokens: { id: number; token: string }[];
  numUnknown: number;
}
export interface ModelCard {
  file: string;
  text: string;
}

export interface PlanRequest {
  model?: string;
  size?: string;
  hiddenSize?: number;
  numAttentionHeads?: number;
  numHiddenLayers?: number;
  decHiddenLayers?: number;
  job: 'training' | 'inference';
  dtype: string;
  batch: number;
  sourceLength: number;
  targetLength: number;
  recompute?: boolean;
  data: number;
  tensor: number;
  trainingTokens: number;
}
export interface HardwarePlan {
  hardware: { name: string; kind: 'cpu' | 'gpu'; memoryBytes: number };
  fits: boolean;
  spareBytes: number;
  smallestMesh?: { data: number; tensor: number };
  training?: { tokensPerSecond: number; days: number };
  inference?: { encodeSeconds: number; tokensPerSecond: number };
}
export interface Plan {
  title: string;
  config: ModelConfig;
  parameters: Record<string, number> & { total: number };
  /** Bytes by kind; in training also the moment, which is a text. */
  memory: Record<string, number | string>;
  operations: Record<string, number>;
  disk: Record<string, number>;
  hardware: HardwarePlan[];
}

export function readParameters(model: string, signal: AbortSignal): Promise<ModelParameters> {
  return ask(`/v1/models/${encodeURIComponent(model)}/parameters`, undefined, signal);
}

export function readCard(model: string, signal: AbortSignal): Promise<ModelCard> {
  return ask(`/v1/models/${encodeURIComponent(model)}/card`, undefined, signal);
}

export async function tokenize(model: string, input: string, signal: AbortSignal): Promise<TokenizedText> {
  const { data } = await ask<{ data: TokenizedText[] }>('/v1/tokenize', { model, input }, signal);
  return data[0] ?? { tokens: [], numUnknown: 0 };
}

export function plan(body: PlanRequest, signal: AbortSignal): Promise<Plan> {
  return ask('/v1/plan', body, signal);
}
