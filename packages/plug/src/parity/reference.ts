// Reads a folder of reference results (config.json, model.safetensors, expected.safetensors, expected.json).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSafetensors } from '@openplug/torch';
import { z } from 'zod';
import { CheckpointError } from '../errors.js';
import { type PackedTexts, packTexts } from '../model/index.js';

const lossesOf = z.object({
  mlm_loss: z.number(),
  sentence_loss: z.number(),
  lm_loss: z.number(),
  greedy_ids: z.array(z.array(z.int())),
});
const objective = z.object({ loss: z.number(), grad_norm: z.number() });

const expectedSchema = z.object({
  final_norm_once: lossesOf,
  final_norm_twice: lossesOf,
  stage1: objective,
  stage2_with_mlm: objective,
  stage2_lm_only: objective,
  greedy: z.object({ start_id: z.int(), new_tokens: z.int() }),
  adamw_10_steps: z.object({
    lr: z.number(),
    betas: z.tuple([z.number(), z.number()]),
    eps: z.number(),
    weight_decay: z.number(),
    clip_grad_norm: z.number(),
    steps: z.array(z.object({ mlm_loss: z.number(), lm_loss: z.number(), grad_norm: z.number() })),
  }),
});

export type Expected = z.infer<typeof expectedSchema>;

/** Inputs and expected numbers of one reference folder. */
export interface Reference {
  expected: Expected;
  source: PackedTexts;
  /** Real tokens of each source row. */
  visible: Int32Array;
  /** Each source row alone, without its padding. */
  sourceTexts: PackedTexts[];
  target: PackedTexts;
  /** Positions in the packed source with a masked-LM label, and the labels. */
  mlm: { index: number[]; labels: number[] };
  /** Positions in the packed target with a label, and the labels. */
  lm: { index: number[]; labels: number[] };
  sentenceLabels: number[];
  /** A stored tensor's elements. */
  values(name: string): Float64Array;
  gradientNames(set: string): string[];
}

export function readReference(folder: string): Reference {
  const path = join(folder, 'expected.json');
  const parsed = expectedSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
  if (!parsed.success)
    throw new CheckpointError(`${path} is not in the reference layout: ${z.prettifyError(parsed.error)}`);
  const file = openSafetensors(join(folder, 'expected.safetensors'));
  const values = (name: string): Float64Array => {
    using tensor = file.tensor(name);
    return Float64Array.from(tensor.toArray());
  };
  const rows = (name: string): number[][] => {
    const [numRows, length] = file.info(name).shape as [number, number];
    const flat = Array.from(values(name));
    return Array.from({ length: numRows }, (_, row) => flat.slice(row * length, (row + 1) * length));
  };
  const inputs = rows('input_ids');
  const types = rows('token_type_ids');
  const mask = rows('attention_mask');
  const visible = Int32Array.from(mask, (row) => row.reduce((sum, value) => sum + value, 0));
  const labelled = (name: string): { index: number[]; labels: number[] } => {
    const flat = Array.from(values(name));
    const index = flat.flatMap((label, position) => (label === -100 ? [] : [position]));
    return { index, labels: index.map((position) => flat[position]!) };
  };
  return {
    expected: parsed.data,
    source: packTexts(inputs, types),
    visible,
    sourceTexts: inputs.map((row, index) =>
      packTexts([row.slice(0, visible[index])], [types[index]!.slice(0, visible[index])]),
    ),
    target: packTexts(rows('decoder_input_ids')),
    mlm: labelled('mlm_labels'),
    lm: labelled('lm_labels'),
    sentenceLabels: Array.from(values('sentence_labels')),
    values,
    gradientNames: (set) =>
      file
        .names()
        .filter((name) => name.startsWith(`grad.${set}.`))
        .map((name) => name.slice(`grad.${set}.`.length)),
  };
}
