// /v1/saliency: which characters mattered for a label.
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { LabelOptions } from '../../pipeline/index.js';
import type { ServerContext } from '../context.js';
import { RequestError } from '../errors.js';
import { scoreSchema } from '../schemas.js';

const text = z.string().refine((given) => given.trim() !== '', 'is empty: there is nothing to read');

const saliencySchema = z.strictObject({
  model: scoreSchema.shape.model,
  input: z
    .union([text, z.strictObject({ text, textPair: text })])
    .describe('a text, or for a classifier of pairs an object with text and textPair'),
  label: z.string().optional().describe('the label to explain; the most probable one if it is left out'),
  labels: scoreSchema.shape.labels
    .optional()
    .describe('as in /v1/score; without them the model has to be a classifier'),
  source: scoreSchema.shape.source,
  before: scoreSchema.shape.before,
});

const salientSchema = z.object({
  model: z.string(),
  label: z.string(),
  probability: z.number(),
  labels: z.array(z.object({ label: z.string(), probability: z.number() })),
  units: z
    .array(
      z.object({
        text: z.union([z.literal(0), z.literal(1)]).describe('0 in the text, 1 in textPair'),
        start: z.int().describe('in UTF-16 units'),
        end: z.int(),
        effect: z
          .number()
          .nullable()
          .describe('ln p(label) with the unit less that without it; null: not read'),
        maskedProbability: z.number().nullable(),
      }),
    )
    .describe('characters, and words of letters and digits'),
});

export function saliencyRoute(app: FastifyInstance, context: ServerContext): void {
  const schema = { body: saliencySchema, response: { 200: salientSchema }, tags: ['PLUG'] };
  app.post('/v1/saliency', { schema }, async (request, reply) => {
    const body = request.body as z.output<typeof saliencySchema>;
    const { model: name, input, labels, source, before, label } = body;
    const asked = typeof input === 'string' ? { text: input } : input;
    context.checkInputs(Object.values(asked), 'input');
    const served = context.model(name);
    if (label !== undefined && !(labels ?? served.info.labels ?? [label]).includes(label))
      throw new RequestError(400, `label is "${label}", which is none of the labels.`, { param: 'label' });
    let options: LabelOptions | undefined;
    if (labels) {
      if (!served.info.canWrite)
        throw new RequestError(400, `Model "${served.name}" has no decoder that could judge labels.`, {
          param: 'model',
        });
      options = {
        labels,
        ...(source !== undefined && { source }),
        ...(before !== undefined && { before }),
      };
    } else if (!served.info.labels)
      throw new RequestError(400, `Model "${served.name}" is no classifier: give labels, as to /v1/score.`, {
        param: 'labels',
      });
    const takesPairs = labels === undefined && served.info.takesPairs === true;
    if ('textPair' in asked !== takesPairs)
      throw new RequestError(
        400,
        takesPairs
          ? `Model "${served.name}" takes an object with text and textPair.`
          : 'Here input is a single text.',
        { param: 'input' },
      );
    const { model, caller } = await context.admit(served, request, reply);
    const found = await model.explain({ ...asked, label }, options, caller);
    return { model: model.name, ...found };
  });
}
