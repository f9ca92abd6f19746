// `plug import`: a published checkpoint → a model folder.
import type { Command } from 'commander';
import { z } from 'zod';
import type { OpenedModel } from '../checkpoint/index.js';
import { openAnyModel, type PlainDType, type WeightFormat } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import { defineCommand } from './command.js';
import { type Converted, convert, describeConverted, packedField, plainField } from './convert.js';

const schema = z.strictObject({
  out: z.string().describe('new folder for the model'),
  dtype: plainField.optional(),
  quantize: packedField.optional(),
});

export function registerImport(program: Command): void {
  defineCommand<typeof schema, Converted>(program, {
    name: 'import',
    summary: 'make a model folder of a published checkpoint',
    description:
      'Recognised by themselves: PLUG as published (model/mp_rank_*, any tensor-parallel degree), Chinese BERT and\n' +
      'StructBERT, PALM 2.0 and ChatPLUG (safetensors or pytorch_model.bin), and model folders. Pickles are read without\n' +
      'executing anything in them. One tensor is in memory at a time. Without --dtype weights keep their dtype.',
    words: [{ name: '<source>', description: 'folder with the published files' }],
    schema,
    interruptible: true,
    examples: [
      ['plug import downloads/PLUG --out models/plug --quantize int4', 'eight shards, ready to write with'],
      ['plug import downloads/structbert-large --out models/structbert', 'an encoder to be fine-tuned'],
    ],
    async run({ settings: { out, dtype, quantize }, words, signal }) {
      if (dtype && quantize)
        throw new ConfigError('Give --dtype (plain weights) or --quantize (packed ones), not both.');
      using model = openAnyModel(words[0]!);
      const format: WeightFormat = quantize
        ? { precision: quantize }
        : { dtype: dtype ?? storedDType(model) };
      return await convert(model, out, format, signal);
    },
    render: describeConverted,
  });
}

/** The dtype of the word embedding stands for all. */
function storedDType({ weights }: OpenedModel): PlainDType {
  const { dtype } = weights.info('bert.embeddings.word_embeddings.weight');
  return dtype === 'float16' || dtype === 'bfloat16' ? dtype : 'float32';
}
