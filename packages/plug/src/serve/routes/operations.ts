// What operators ask: whether the server lives and is ready, metrics, and the API's document.
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
  app.get('/health', { schema: { tags: ['Operations'] } }, () => ({ status: 'ok' }));
  app.get('/ready', { schema: { tags: ['Operations'] } }, (_, reply) => {
    // A model that is not loaded is no fault: a request has it loaded.
    const loaded = context.pool.models.flatMap(({ name, hosted }) =>
      hosted ? [[name, hosted.isReady]] : [],
    );
    const models = Object.fromEntries(loaded) as Record<string, boolean>;
    const isReady = !isDraining() && Object.values(models).every(Boolean);
    return reply.status(isReady ? 200 : 503).send({ ready: isReady, models });
  });
  app.get('/metrics', { schema: { tags: ['Operations'] } }, async (_, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
}
