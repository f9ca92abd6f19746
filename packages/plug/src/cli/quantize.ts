// `plug quantize`: a model folder → one whose weights are packed for inference and used where they lie on disk.
import type { Command } from 'commander';
import { z } from 'zod';
import { openModelFolder, resolveModelFolder } from '../checkpoint/index.js';
import { defineCommand } from './command.js';
import { type Converted, convert, describeConverted, packedField } from './convert.js';

const schema = z.strictObject({
  model: z.string().describe('model folder, or the folder of a run that has made a model'),
  out: z.string().describe('new folder for the packed model'),
  precision: packedField.default('int8'),
});

export function registerQuantize(program: Command): void {
  defineCommand<typeof schema, Converted>(program, {
    name: 'quantize',
    summary: 'store weights in fewer bits, to be used where they lie on disk',
    description:
      'The result takes no memory of its own beyond what the system caches: it loads at once, and may be larger than\n' +
      'memory. The output embedding keeps 8 bits, tables of embeddings 16, biases and norms 32.',
    schema,
    interruptible: true,
    examples: [
      ['plug quantize --model runs/quickstart --out models/quickstart-int8', 'int8, a quarter of float32'],
      ['plug generate --model models/quickstart-int8 --prompt 春', 'writes with it'],
    ],
    async run({ settings, signal }) {
      using model = openModelFolder(resolveModelFolder(settings.model));
      return await convert(model, settings.out, { precision: settings.precision }, signal);
    },
    render: describeConverted,
  });
}
