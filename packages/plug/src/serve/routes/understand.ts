// /v1/embeddings in OpenAI's form; /v1/score, labels without fine-tuning, and /v1/classify, labels of fine-tuned models.
import type { FastifyInstance } from 'fastify';
import type { Classification } from '../../pipeline/index.js';
import { listed, type ServerContext } from '../context.js';
import { RequestError } from '../errors.js';
import type { HostedModel } from '../hosted-model.js';
import {
  type ClassifyRequest,
  classifySchema,
  type EmbeddingRequest,
  embeddingSchema,
  labelledSchema,
  type ScoreRequest,
  scoreSchema,
} from '../schemas.js';

export function understandRoutes(app: FastifyInstance, context: ServerContext): void {
  app.post(
    '/v1/embeddings',
    { schema: { body: embeddingSchema, tags: ['OpenAI'] } },
    async (request, reply) => {
      const { model: name, input, encoding_format: format, pooling } = request.body as EmbeddingRequest;
      const texts = readable(listed(input));
      const { model, caller } = await context.admit(context.model(name), request, reply);
      const { vectors, numTokens } = await model.embed(texts, { pooling }, caller);
      return {
        object: 'list',
        model: model.name,
        data: vectors.map((vector, index) => ({
          object: 'embedding',
          index,
          embedding: format === 'base64' ? base64(vector) : Array.from(vector),
        })),
        usage: { prompt_tokens: numTokens, total_tokens: numTokens },
      };
    },
  );

  const schema = { body: scoreSchema, response: { 200: labelledSchema }, tags: ['PLUG'] };
  app.post('/v1/score', { schema }, async (request, reply) => {
    const { model: name, input, labels, source, before } = request.body as ScoreRequest;
    const texts = readable(listed(input));
    const { model, caller } = await context.admit(context.model(name), request, reply);
    const options = {
      labels,
      ...(source !== undefined && { source }),
      ...(before !== undefined && { before }),
    };
    const scored = await model.score(texts, options, caller);
    return labelsOf(model, scored);
  });

  const classifying = { body: classifySchema, response: { 200: labelledSchema }, tags: ['PLUG'] };
  app.post('/v1/classify', { schema: classifying }, async (request, reply) => {
    const { model: name, input } = request.body as ClassifyRequest;
    const inputs = (Array.isArray(input) ? input : [input]).map((one) =>
      typeof one === 'string' ? { text: one } : one,
    );
    readable(inputs.flatMap((one) => Object.values(one)));
    const served = context.model(name ?? context.pool.models.find(({ info }) => info.labels)?.name);
    const { labels, takesPairs = false } = served.info;
    if (!labels)
      throw new RequestError(
        400,
        `Model "${served.name}" is no classifier. Serve one of plug finetune, or use /v1/score.`,
        {
          param: 'model',
        },
      );
    if (inputs.some((one) => 'textPair' in one !== takesPairs))
      throw new RequestError(
        400,
        `Model "${served.name}" takes ${takesPairs ? 'objects with text and textPair' : 'single texts'}.`,
        {
          param: 'input',
        },
      );
    const { model, caller } = await context.admit(served, request, reply);
    const found = await model.classify(inputs, caller);
    return labelsOf(model, found);
  });

  /** @throws RequestError 400 for a text that is empty, or longer than the server takes */
  function readable(texts: readonly string[]): readonly string[] {
    const at = texts.findIndex((text) => text.trim() === '');
    if (at >= 0)
      throw new RequestError(
        400,
        `input ${texts.length > 1 ? `${at} ` : ''}is empty: there is nothing to read.`,
        { param: 'input' },
      );
    context.checkInputs(texts, 'input');
    return texts;
  }
}

function labelsOf({ name }: HostedModel, found: readonly Classification[]): object {
  return { model: name, data: found.map(({ labels }, index) => ({ index, labels })) };
}

/** Little-endian float32, as OpenAI's clients ask for it by themselves. */
function base64({ buffer, byteOffset, byteLength }: Float32Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}
