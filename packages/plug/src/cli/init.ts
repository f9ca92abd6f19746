// `plug init`: a model with new weights, of any size, written tensor by tensor.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { newModel } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { type PlugConfig, plugConfigOfSize, sizeNames } from '../model/index.js';
import { loadTokenizer } from '../text/index.js';
import { defineCommand } from './command.js';
import { type Converted, convert, describeConverted, packedField, plainField } from './convert.js';

const schema = z.strictObject({
  out: z.string().describe('new folder for the model'),
  size: z
    .enum(sizeNames as [string, ...string[]])
    .describe('one of the ladder; `plug plan` shows what each takes'),
  tokenizer: z.string().optional().describe('folder with vocab.txt, which is copied; sets the vocabulary'),
  vocabSize: z
    .int()
    .min(8)
    .default(21128)
    .describe('entries of the vocabulary without a tokenizer; the default is that of PLUG'),
  maxPositions: z.int().min(1).optional().describe('longest text in tokens; default 2048, as published'),
  encoderOnly: z.boolean().default(false).describe('a StructBERT encoder without decoder'),
  seed: z.int().min(0).default(0).describe('seed of the weights'),
  dtype: plainField.default('float32'),
  quantize: packedField.optional(),
});

export function registerInit(program: Command): void {
  defineCommand<typeof schema, Converted>(program, {
    name: 'init',
    summary: 'write a model with new weights',
    description:
      'Nothing larger than one tensor is held in memory, so a 27-billion-parameter model can be written anywhere.',
    schema,
    interruptible: true,
    examples: [
      [
        'plug init --size base --tokenizer runs/quickstart/tokenizer --out models/base',
        'a model to be trained',
      ],
      [
        'plug init --size 27b --quantize int4 --out models/27b',
        'the shape of PLUG, to measure a machine with',
      ],
    ],
    async run({ settings, signal }) {
      const { tokenizer, out, quantize, dtype, encoderOnly, maxPositions } = settings;
      const changes: Partial<PlugConfig> = {
        ...(maxPositions === undefined ? {} : { maxPositionEmbeddings: maxPositions }),
        ...(encoderOnly ? { decHiddenLayers: 0 } : {}),
      };
      const vocabSize = tokenizer === undefined ? settings.vocabSize : loadTokenizer(tokenizer).vocabSize;
      const config = plugConfigOfSize(settings.size, vocabSize, changes);
      using model = newModel(config, settings.seed, tokenizer === undefined ? [] : tokenizerFiles(tokenizer));
      return await convert(model, out, quantize ? { precision: quantize } : { dtype }, signal);
    },
    render: describeConverted,
  });
}

function tokenizerFiles(folder: string): string[] {
  const vocabulary = join(folder, 'vocab.txt');
  if (!existsSync(vocabulary))
    throw new ConfigError(`${vocabulary} is missing: --tokenizer names a folder that has it.`);
  return [vocabulary, join(folder, 'tokenizer_config.json')].filter((path) => existsSync(path));
}
