// `plug predict`: what a fine-tuned model says of each row of a file.
import type { Command } from 'commander';
import writeFileAtomic from 'write-file-atomic';
import { z } from 'zod';
import {
  browsedRows,
  errorsFirst,
  loadTaskModel,
  predictRows,
  readExamples,
  readInputs,
  readTask,
} from '../finetune/index.js';
import { chooseDType } from '../pretrain/index.js';
import { defineCommand } from './command.js';

export function registerPredict(program: Command): void {
  defineCommand(program, {
    name: 'predict',
    summary: 'what a fine-tuned model says of each row, as JSON lines',
    description:
      'Each line has the id, the input, the prediction and its probability; with --gold the right answer too. Files may be\n' +
      'JSON lines or arrays, CSV, TSV or Parquet, in the columns of the task.',
    schema: z.strictObject({
      model: z.string().describe('model folder or run folder of plug finetune'),
      data: z.array(z.string()).min(1).describe('files to predict'),
      out: z.string().describe('JSON lines to write'),
      gold: z
        .boolean()
        .default(false)
        .describe('the rows have answers: write them, and whether the prediction is right'),
      errors: z
        .boolean()
        .default(false)
        .describe('write only wrong predictions, those that the model was surest of first; implies --gold'),
      dtype: z
        .enum(['auto', 'float32', 'bfloat16'])
        .default('auto')
        .describe('compute dtype of plain weights'),
      tokensPerBatch: z.int().min(16).default(4096).describe('tokens of a batch at most'),
    }),
    examples: [
      [
        'plug predict --model runs/tnews --data new.jsonl --out predictions.jsonl',
        'labels with probabilities',
      ],
      ['plug predict --model runs/tnews --data dev.json --errors --out errors.jsonl', 'what it gets wrong'],
    ],
    async run({ settings: { model: folder, data, out, gold, errors, dtype, tokensPerBatch } }) {
      const { task } = readTask(folder);
      const known = gold || errors;
      const inputs = known ? (await readExamples(data, task)).examples : await readInputs(data, task);
      using model = loadTaskModel(folder);
      const options = { forward: { computeDType: chooseDType(dtype) }, tokensPerBatch };
      const rows = browsedRows(task, inputs, await predictRows(model, inputs, options));
      const wrong = errorsFirst(rows);
      const written = errors ? wrong : rows;
      writeFileAtomic.sync(out, written.map((row) => `${JSON.stringify(row)}\n`).join(''));
      return {
        out,
        task: task.name,
        rows: rows.length,
        written: written.length,
        ...(known && { wrong: wrong.length }),
      };
    },
    render({ out, rows, written, wrong }) {
      const errors = wrong === undefined ? '' : `, ${wrong} of ${rows} wrong`;
      return `${written} rows written to ${out}${errors}.`;
    },
  });
}
