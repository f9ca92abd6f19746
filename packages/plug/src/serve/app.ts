// The HTTP server. Fastify: the framework of Node that is fastest and as well kept as any, with limits and logging in it.
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import fastifyStatic from '@fastify/static';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance, type FastifyRequest, LogController } from 'fastify';
import { jsonSchemaTransform, serializerCompiler } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { nearestName } from '../config/index.js';
import { authenticate, type TokenHolder } from './access.js';
import { ServerContext, type ServerLimits } from './context.js';
import { errorBody, RequestError } from './errors.js';
import type { ServerMetrics } from './metrics.js';
import type { ModelPool } from './model-pool.js';
import { describeRoutes } from './routes/describe.js';
import { generateRoute } from './routes/generate.js';
import { modelRoutes } from './routes/models.js';
import { openAiTextRoutes } from './routes/openai-text.js';
import { operationRoutes } from './routes/operations.js';
import { planRoute } from './routes/plan.js';
import { resultRoutes } from './routes/results.js';
import { runRoutes } from './routes/runs.js';
import { saliencyRoute } from './routes/saliency.js';
import { understandRoutes } from './routes/understand.js';

export interface ServerOptions {
  readonly models: ModelPool;
  /** Where runs lie that the studio shows and clients may load; undefined: none. */
  readonly runsFolder: string | undefined;
  readonly limits: ServerLimits;
  readonly metrics: ServerMetrics;
  /** Undefined: everyone may ask. */
  readonly tokens: readonly TokenHolder[] | undefined;
  /** Of one token, or one address where there are no tokens; 0 for no limit. */
  readonly requestsPerMinute: number;
  readonly maxBodyBytes: number;
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug';
  readonly version: string;
  /** Folder of the web studio's files; undefined to serve the API alone. */
  readonly studio?: string | undefined;
  /** Time that a client has to send its headers, and three times as much for its whole request. Default 10,000. */
  readonly headersTimeoutMs?: number;
}

declare module 'fastify' {
  interface FastifyRequest {
    holder: TokenHolder | undefined;
  }
}

/** The server, not listening yet; `beginDraining` makes it unready while it answers what it has begun. */
export async function buildServer(
  options: ServerOptions,
): Promise<{ app: FastifyInstance; beginDraining(): void }> {
  const { metrics, tokens, requestsPerMinute, headersTimeoutMs = 10_000 } = options;
  let isDraining = false;
  const app = Fastify({
    bodyLimit: options.maxBodyBytes,
    requestTimeout: 3 * headersTimeoutMs,
    // Prompts are nobody's business: a line tells the route, the status and the time.
    logger: options.logLevel === 'silent' ? false : { level: options.logLevel },
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 4096 }, // ids of runs are paths, of which a Chinese character takes nine bytes
    http: { headersTimeout: headersTimeoutMs, connectionsCheckingInterval: 500 },
  });
  const context = new ServerContext(options.models, options.limits);
  metrics.watch(options.models);

  app.removeContentTypeParser('text/plain'); // JSON and nothing else
  app.setValidatorCompiler(
    ({ schema }) =>
      (data) =>
        checked(schema as z.ZodObject, data),
  );
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler<Error>((error, request, reply) => {
    const known = requestError(error);
    if (known.statusCode >= 500) request.log.error({ err: error }, 'request failed');
    if (known.retryAfterSeconds !== undefined) reply.header('retry-after', known.retryAfterSeconds);
    if (known.statusCode === 401) reply.header('www-authenticate', 'Bearer');
    return reply.status(known.statusCode).send(errorBody(known));
  });
  app.setNotFoundHandler((request, reply) => {
    const error = new RequestError(404, `There is no ${request.method} ${request.url.split('?')[0]} here.`, {
      code: 'not_found',
    });
    return reply.status(404).send(errorBody(error));
  });

  app.decorateRequest('holder', undefined);
  app.addHook('onRequest', async (request) => {
    if (tokens && needsToken(request)) request.holder = authenticate(request.headers.authorization, tokens);
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    metrics.requests.inc({ route, status: reply.statusCode });
    metrics.requestSeconds.observe({ route }, reply.elapsedTime / 1000);
    const { statusCode: status, elapsedTime: ms } = reply;
    request.log.info({ route, status, ms: Math.round(ms), holder: request.holder?.name }, 'answered');
  });

  await app.register(helmet, {
    contentSecurityPolicy: { directives: { defaultSrc: ["'self'"], upgradeInsecureRequests: null } },
    hsts: false, // for whoever ends TLS in front
  });
  if (requestsPerMinute > 0)
    await app.register(rateLimit, {
      timeWindow: '1 minute',
      max: (request) => request.holder?.requestsPerMinute ?? requestsPerMinute,
      keyGenerator: (request) => request.holder?.name ?? request.ip,
      allowList: (request) => !request.url.startsWith('/v1/'),
      errorResponseBuilder: (_, { after, max }) =>
        new RequestError(429, `More than ${max} requests in a minute. Try again in ${after}.`, {
          type: 'rate_limit_error',
          code: 'rate_limit_exceeded',
        }),
    });
  await app.register(swagger, {
    openapi: {
      info: {
        title: 'OpenPLUG',
        version: options.version,
        description: 'What is written here is written by a machine.',
      },
      ...(tokens && { components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } } }),
    },
    transform: jsonSchemaTransform,
  });
  await app.register(async (routes) => {
    openAiTextRoutes(routes, context);
    generateRoute(routes, context);
    understandRoutes(routes, context);
    modelRoutes(routes, context, options.runsFolder);
    runRoutes(routes, options.runsFolder);
    describeRoutes(routes, context);
    planRoute(routes, context);
    saliencyRoute(routes, context);
    operationRoutes(routes, context, metrics, () => isDraining);
    resultRoutes(routes, context, options.runsFolder);
  });
  if (options.studio !== undefined)
    await app.register(fastifyStatic, { root: options.studio, wildcard: false });
  const beginDraining = (): void => {
    isDraining = true;
  };
  return { app, beginDraining };
}

/** Health is asked by machines that hold no token, and the studio's page asks its reader for one. */
const open = /^\/(health|ready|index\.html|icon\.svg|assets\/[\w.-]+)?(\?|$)/;

function needsToken({ url }: FastifyRequest): boolean {
  return !open.test(url);
}

/** The body as its schema reads it, or an error that names the field and the nearest valid name. */
function checked(schema: z.ZodObject, data: unknown): { value: unknown } | { error: Error } {
  const parsed = schema.safeParse(data);
  if (parsed.success) return { value: parsed.data };
  const issue = parsed.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    const param = [...issue.path, key].join('.');
    const known = issue.path.length === 0 ? Object.keys(schema.shape) : [];
    const nearest = nearestName(key, known);
    const hint = nearest
      ? ` Did you mean "${nearest}"?`
      : known.length > 0
        ? ` Known: ${known.join(', ')}.`
        : '';
    return {
      error: new RequestError(400, `There is no field "${param}".${hint}`, { code: 'unknown_field', param }),
    };
  }
  const param = issue.path.join('.');
  const message = param ? `${param}: ${issue.message}` : `The body does not fit: ${issue.message}`;
  return { error: new RequestError(400, message, param ? { param } : {}) };
}

function requestError(error: Error & { statusCode?: number; code?: string }): RequestError {
  if (error instanceof RequestError) return error;
  const status = error.statusCode ?? 500;
  // What Fastify itself refuses: a body that is no JSON, is too long, or has another type.
  if (status < 500)
    return new RequestError(status, error.message, { code: (error.code ?? 'bad_request').toLowerCase() });
  return new RequestError(500, 'Something went wrong in the server; its log says what.', {
    code: 'internal',
  });
}
