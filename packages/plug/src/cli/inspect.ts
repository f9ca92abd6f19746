// `plug inspect`: what a model folder holds.
import type { Command } from 'commander';
import { z } from 'zod';
import {
  bytesOf,
  openWeights,
  readModelConfig,
  readStoredPrecision,
  resolveModelFolder,
  type StoredPrecision,
  type Verification,
  verifyChecksums,
  weightFiles,
} from '../checkpoint/index.js';
import { formatColumns } from '../config/index.js';
import { countParameters, type PlugConfig } from '../model/index.js';
import { defineCommand } from './command.js';
import { formatBytes } from './convert.js';
import { createProgress } from './progress.js';

const schema = z.strictObject({
  verify: z.boolean().default(false).describe('read all weights and compare their checksums'),
});

interface Inspection {
  folder: string;
  config: PlugConfig;
  /** How the weights are packed; absent when they are plain. */
  precision?: StoredPrecision;
  parameters: number;
  files: readonly string[];
  tensors: { name: string; dtype: string; shape: readonly number[]; bytes: number }[];
  /** Bytes by dtype. */
  totals: Record<string, number>;
  bytes: number;
  verification?: Verification;
}

export function registerInspect(program: Command): void {
  defineCommand<typeof schema, Inspection>(program, {
    name: 'inspect',
    summary: 'list the tensors of a model folder, with dtypes, sizes and totals',
    words: [{ name: '<folder>', description: 'model folder, or the folder of a run that has made a model' }],
    schema,
    interruptible: true,
    examples: [
      ['plug inspect runs/quickstart', 'what a trained model holds'],
      ['plug inspect models/27b --verify', 'whether its files are as they were written'],
    ],
    async run({ settings, words, signal }) {
      const folder = resolveModelFolder(words[0]!);
      const config = readModelConfig(folder);
      const precision = readStoredPrecision(folder);
      using weights = openWeights(folder);
      const tensors = weights.names().map((name) => {
        const info = weights.info(name);
        return { name, dtype: info.dtype as string, shape: info.shape, bytes: bytesOf(info) };
      });
      const totals: Record<string, number> = {};
      for (const { dtype, bytes } of tensors) totals[dtype] = (totals[dtype] ?? 0) + bytes;
      const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
      return {
        folder,
        config,
        ...(precision ? { precision } : {}),
        parameters: countParameters(config),
        files: weightFiles(folder),
        tensors,
        totals,
        bytes,
        ...(settings.verify ? { verification: await verify(folder, bytes, signal) } : {}),
      };
    },
    render: describe,
  });
}

async function verify(folder: string, bytes: number, signal: AbortSignal): Promise<Verification> {
  const progress = createProgress({ label: 'checksums', total: Math.ceil(bytes / 1e6), unit: 'MB' });
  let read = 0;
  const count = (more: number): void => {
    read += more;
    progress.update(Math.round(read / 1e6));
  };
  const result = await verifyChecksums(folder, count, signal);
  progress.finish();
  return result;
}

function describe({
  folder,
  config,
  precision,
  parameters,
  files,
  tensors,
  totals,
  bytes,
  verification,
}: Inspection): string {
  const { numHiddenLayers, decHiddenLayers, hiddenSize, numAttentionHeads, vocabSize, originalVocabSize } =
    config;
  const rows = tensors.map(({ name, dtype, shape, bytes: size }) => [
    name,
    dtype,
    `[${shape.join(', ')}]`,
    formatBytes(size),
  ]);
  const facts = [
    ['folder', folder],
    [
      'model',
      `${numHiddenLayers} + ${decHiddenLayers} layers, hidden ${hiddenSize}, ${numAttentionHeads} heads, vocabulary ${vocabSize} (${originalVocabSize} real), ${config.preLn ? 'pre-LN' : 'post-LN'}`,
    ],
    ['parameters', parameters.toLocaleString('en')],
    ['weights', precision ? `packed for inference, ${precision}` : 'plain'],
    ['files', `${files.length}: ${files[0]}${files.length > 1 ? ' …' : ''}`],
    [
      'total',
      `${formatBytes(bytes)} (${Object.entries(totals)
        .map(([dtype, size]) => `${dtype} ${formatBytes(size)}`)
        .join(', ')})`,
    ],
  ];
  if (verification)
    facts.push([
      'checksums',
      verification.unknown.length > 0
        ? `${verification.verified.length} files as written; none is known of ${verification.unknown.join(', ')}`
        : `all ${verification.verified.length} files as written`,
    ]);
  return `${formatColumns([['tensor', 'dtype', 'shape', 'size'], ...rows])}\n\n${formatColumns(facts)}`;
}
