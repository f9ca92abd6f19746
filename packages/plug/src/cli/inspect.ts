// `plug inspect`: what a model folder holds.
import type { Command } from 'commander';
import { z } from 'zod';
import {
  type Inspection,
  inspectFolder,
  resolveModelFolder,
  type Verification,
  verifyChecksums,
} from '../checkpoint/index.js';
import { formatColumns } from '../config/index.js';
import { defineCommand } from './command.js';
import { formatBytes } from './convert.js';
import { createProgress } from './progress.js';

const schema = z.strictObject({
  verify: z.boolean().default(false).describe('read all weights and compare their checksums'),
});

/** With the checksums, where they were asked for. */
type VerifiedInspection = Inspection & { verification?: Verification };

export function registerInspect(program: Command): void {
  defineCommand<typeof schema, VerifiedInspection>(program, {
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
      const inspection = inspectFolder(resolveModelFolder(words[0]!));
      if (!settings.verify) return inspection;
      return { ...inspection, verification: await verify(inspection.folder, inspection.bytes, signal) };
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
}: VerifiedInspection): string {
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
