// /v1/plan: what a model takes, as `plug plan` says it. Formulas alone, so the server answers it itself.
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { readModelConfig, resolveModelFolder } from '../../checkpoint/index.js';
import { ConfigError } from '../../errors.js';
import { makePlan, type PlannedModel, planFields } from '../../plan/index.js';
import type { ServerContext } from '../context.js';
import { RequestError } from '../errors.js';

const planRequestSchema = z.strictObject({
  ...planFields,
  model: z.string().optional().describe('a name of /v1/models, in place of a size'),
});

export function planRoute(app: FastifyInstance, context: ServerContext): void {
  app.post('/v1/plan', { schema: { body: planRequestSchema, tags: ['PLUG'] } }, (request) => {
    const { model: name, ...settings } = request.body as z.output<typeof planRequestSchema>;
    try {
      return makePlan(settings, { given: name === undefined ? undefined : servedModel(context, name) });
    } catch (error) {
      throw error instanceof ConfigError ? inFields(error) : error;
    }
  });
}

function servedModel(context: ServerContext, name: string): PlannedModel {
  return { title: name, config: readModelConfig(resolveModelFolder(context.model(name).folder)) };
}

/** The error of a setting with the API's names in place of the command's flags; the first is the field at fault. */
function inFields({ message }: ConfigError): RequestError {
  const fields: string[] = [];
  const text = message.replaceAll(/--([a-z]+(?:-[a-z]+)*)/g, (_, flag: string) => {
    const field = flag.replaceAll(/-([a-z])/g, (__, letter: string) => letter.toUpperCase());
    fields.push(field);
    return field;
  });
  return new RequestError(400, text, fields[0] === undefined ? {} : { param: fields[0] });
}
