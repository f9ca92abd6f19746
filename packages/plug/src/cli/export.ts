// `plug export`: a model → the layouts that other programs read.
import { copyFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import {
  exportBert,
  exportOnnx,
  type OpenedModel,
  openAnyModel,
  resolveModelFolder,
  splitToShards,
  type WritingOptions,
  writeNewFolder,
} from '../checkpoint/index.js';
import { plugConfigToJson } from '../model/index.js';
import { defineCommand } from './command.js';
import { formatBytes, writingProgress } from './convert.js';

const schema = z.strictObject({
  out: z.string().describe('new folder'),
  layout: z
    .enum(['bert', 'shards', 'onnx'])
    .describe(
      'bert: the encoder as Hugging Face lays out BERT (post-LN only); shards: PLUG as published, in float16; onnx: encoder, masked-LM head and decoder with its cache',
    ),
  degree: z.int().min(1).default(8).describe('shards: number of ranks'),
});

interface Exported {
  out: string;
  kind: string;
  layout: string;
  notes: readonly string[];
}

export function registerExport(program: Command): void {
  defineCommand<typeof schema, Exported>(program, {
    name: 'export',
    summary: 'write a model in a layout that other programs read',
    words: [{ name: '<model>', description: 'model folder, the folder of a run, or a published checkpoint' }],
    schema,
    interruptible: true,
    examples: [
      [
        'plug export runs/quickstart --layout onnx --out exports/onnx',
        'for ONNX Runtime, in Node or a browser',
      ],
      [
        'plug export models/plug --layout shards --degree 4 --out exports/plug',
        'four ranks instead of eight',
      ],
    ],
    async run({ settings: { out, layout, degree }, words, signal }) {
      using model = openAnyModel(resolveModelFolder(words[0]!));
      const { onProgress, finish } = writingProgress(out);
      const notes = await writers[layout](model, out, { signal, onProgress }, degree);
      finish();
      return { out, kind: model.kind, layout, notes: [...model.notes, ...notes] };
    },
    render: ({ out, kind, layout, notes }) =>
      [`${kind} → ${out} (${layout})`, ...notes.map((note) => `note: ${note}`)].join('\n'),
  });
}

/** Writes a model to the new folder `out`; returns what a user should know. */
type Writer = (
  model: OpenedModel,
  out: string,
  options: Required<WritingOptions>,
  degree: number,
) => Promise<string[]>;

const writers: Record<'bert' | 'shards' | 'onnx', Writer> = {
  bert: (model, out, options) => exportBert(model, out, options),
  async shards(model, out, options, degree) {
    const { weights, config, filesBeside } = model;
    await writeNewFolder(out, 0, async (folder) => {
      await splitToShards(weights, config, degree, folder, options);
      // As published: whoever reads the shards decides about the second final norm.
      const json = plugConfigToJson({ ...config, doubleFinalNorm: false });
      writeFileSync(join(folder, 'config.json'), `${JSON.stringify(json, null, 2)}\n`);
      copyTokenizer(filesBeside, folder);
    });
    return [];
  },
  async onnx(model, out, options) {
    const files = await exportOnnx(model, out, options);
    return files.map(({ name, bytes }) => `${name}: ${formatBytes(bytes)}`);
  },
};

function copyTokenizer(files: readonly string[], folder: string): void {
  for (const path of files)
    if (!path.endsWith('.safetensors')) copyFileSync(path, join(folder, basename(path)));
}
