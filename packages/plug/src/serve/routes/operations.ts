// What operators ask: which models there are, whether the server lives and is ready, metrics, and the API's document.
import type { FastifyInstance } from 'fastify';
import type { ServerContext } from '../context.js';
import type { ServerMetrics } from '../metrics.js';

/** @param isDraining true once the server takes no more work */
export function operationRoutes(
  app: FastifyInstance,
  context: ServerContext,
  { registry }: ServerMetrics,
  isDraining: () => boolean,
): void {
  app.get('/v1/models', { schema: { tags: ['OpenAI'] } }, () => ({
    object: 'list',
    data: context.models.map(({ name, info }) => ({
      id: name,
      object: 'model',
      created: 0,
      owned_by: 'openplug',
      ready: info !== undefined,
      maxNewTokens: context.limits.maxNewTokens,
      ...info,
    })),
  }));
  app.get('/health', { schema: { tags: ['Operations'] } }, () => ({ status: 'ok' }));
  app.get('/ready', { schema: { tags: ['Operations'] } }, (_, reply) => {
    const models = Object.fromEntries(context.models.map(({ name, isReady }) => [name, isReady]));
    const isReady = !isDraining() && Object.values(models).every(Boolean);
    return reply.status(isReady ? 200 : 503).send({ ready: isReady, models });
  });
  app.get('/metrics', { schema: { tags: ['Operations'] } }, async (_, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
}
