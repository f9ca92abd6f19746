// `plug serve`: models behind an HTTP API.
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { shippedModelFolder } from '../checkpoint/index.js';
import { ConfigError } from '../errors.js';
import {
  addToken,
  buildServer,
  ModelPool,
  readTokenFile,
  ServerMetrics,
  studioFolder,
} from '../serve/index.js';
import { defineCommand } from './command.js';
import { INTERRUPTED } from './interrupt.js';
import { packageVersion } from './version.js';

const schema = z.strictObject({
  model: z
    .array(z.string())
    .min(1)
    .optional()
    .describe(
      'model or run folders to serve, each as FOLDER or NAME=FOLDER; without: the small model of classical poems that comes along',
    ),
  memoryMb: z
    .int()
    .min(1)
    .optional()
    .describe(
      'MiB for models that are loaded; others are loaded when they are asked for, in place of idle ones. Default: all are loaded at the start',
    ),
  runs: z
    .string()
    .default('runs')
    .describe('folder of runs that the studio shows and clients may have loaded; it need not exist'),
  host: z
    .string()
    .default('127.0.0.1')
    .describe('address to listen on; 0.0.0.0 is reachable from other machines'),
  port: z.int().min(0).max(65_535).default(8000).describe('0 takes one that is free'),
  precision: z
    .enum(['auto', 'float32', 'bfloat16', 'int8', 'int4'])
    .default('auto')
    .describe('how weights are kept; auto as they are stored, else float32'),
  threads: z.int().min(1).max(4096).optional().describe('threads of one operation of each model'),
  batchSize: z.int().min(1).max(1024).default(32).describe('texts that a model writes at a time'),
  cacheMb: z
    .int()
    .min(1)
    .default(1024)
    .describe('MiB for the keys and values of those texts; fewer are written at a time if it is too little'),
  maxCalls: z
    .int()
    .min(1)
    .default(256)
    .describe(
      'requests of a model that are answered or wait; more get 429, except of a token with less than its share',
    ),
  maxNewTokens: z.int().min(1).default(2048).describe('tokens that one text may have'),
  maxTexts: z.int().min(1).default(64).describe('texts that one request may ask for'),
  maxInputChars: z.int().min(1).default(16_384).describe('characters of one input'),
  maxBodyKb: z.int().min(1).default(1024).describe('KiB of a request'),
  requestTimeoutSeconds: z.number().positive().default(300).describe('time for one answer'),
  requestsPerMinute: z
    .int()
    .min(0)
    .default(0)
    .describe('of one token, or one address where there are no tokens; 0: no limit'),
  tokenFile: z
    .string()
    .optional()
    .describe('file of token hashes, one "name sha256 [requests per minute]" a line; others get 401'),
  newToken: z.string().optional().describe('add a token of this name to --token-file, print it, and end'),
  drainSeconds: z.number().min(0).default(30).describe('time for answers that have begun when it is stopped'),
  logLevel: z
    .enum(['silent', 'error', 'warn', 'info', 'debug'])
    .default('warn')
    .describe('JSON lines on stdout; info is a line for each request, without its text'),
});

export function registerServe(program: Command): void {
  defineCommand(program, {
    name: 'serve',
    summary: 'serve models over HTTP, in the form of OpenAI’s API',
    description:
      'Requests are written together, each token of all of them in one step. The address in a browser shows the studio; /openapi.json lists the routes, OpenAI’s among them.',
    schema,
    examples: [
      ['plug serve', 'a small model of classical poems, on http://127.0.0.1:8000'],
      ['plug serve --model runs/quickstart', 'the model of a finished run'],
      ['plug serve --new-token alice --token-file tokens.txt', 'makes a token'],
      [
        'plug serve --model poems=runs/quickstart --host 0.0.0.0 --token-file tokens.txt --requests-per-minute 60',
        'for other machines, with tokens',
      ],
    ],
    async run({ settings }) {
      const { tokenFile, newToken } = settings;
      if (newToken !== undefined) {
        if (tokenFile === undefined)
          throw new ConfigError('--new-token wants --token-file FILE to add the hash to.');
        return { token: addToken(tokenFile, newToken), tokenFile };
      }
      const named = namedModels(settings.model);
      const signal = stopSignal();
      const tokens = tokenFile === undefined ? undefined : readTokenFile(tokenFile);
      const metrics = new ServerMetrics();
      const models = newPool(settings, metrics);
      try {
        await start(models, named, signal);
        const { app, beginDraining } = await buildServer({
          models,
          runsFolder: settings.runs,
          metrics,
          tokens,
          requestsPerMinute: settings.requestsPerMinute,
          maxBodyBytes: settings.maxBodyKb * 1024,
          logLevel: settings.logLevel,
          version: packageVersion(),
          studio: studioFolder(),
          limits: {
            maxNewTokens: settings.maxNewTokens,
            maxInputChars: settings.maxInputChars,
            maxTextsPerRequest: settings.maxTexts,
            requestTimeoutMs: settings.requestTimeoutSeconds * 1000,
          },
        });
        const url = await listen(app, settings);
        if (!isLocal(settings.host) && !tokens)
          process.stderr.write(
            `WARNING: ${settings.host} is reachable from other machines, and everyone may ask. Give --token-file FILE, or listen on 127.0.0.1.\n`,
          );
        process.stderr.write(`Serving ${named.map(([name]) => name).join(', ')} on ${url} (Ctrl-C stops)\n`);
        await aborted(signal);
        beginDraining();
        await Promise.race([app.close(), sleep(settings.drainSeconds * 1000, undefined, { ref: false })]);
        return { url };
      } finally {
        await models.close();
      }
    },
    render: (result) => ('token' in result ? `${result.token}\n` : ''),
  });
}

type Settings = z.output<typeof schema>;

function namedModels(given: readonly string[] | undefined): [name: string, folder: string][] {
  if (!given) return [['poetry', shippedModelFolder()]];
  return given.map((text): [string, string] => {
    const [, name, folder] = /^([\w.-]+)=(.+)$/.exec(text) ?? [undefined, basename(text), text];
    return [name!, folder!];
  });
}

function newPool(
  { precision, threads, batchSize, cacheMb, maxCalls, memoryMb }: Settings,
  { listener }: ServerMetrics,
): ModelPool {
  const cacheBytes = cacheMb * 2 ** 20;
  return new ModelPool({
    hosting: { precision, threads, maxRows: batchSize, cacheBytes, maxCalls },
    memoryBytes: memoryMb === undefined ? undefined : memoryMb * 2 ** 20,
    listener: {
      ...listener,
      onExit(model, reason) {
        listener.onExit?.(model, reason);
        process.stderr.write(`Model "${model}" ended (${reason}); starting it again.\n`);
      },
    },
  });
}

async function start(
  models: ModelPool,
  named: readonly [name: string, folder: string][],
  signal: AbortSignal,
): Promise<void> {
  for (const [name, folder] of named) models.add(name, folder);
  try {
    await models.warmUp(signal);
  } catch (error) {
    throw error instanceof Error && error.name === 'RequestError' ? new ConfigError(error.message) : error;
  }
}

async function listen(app: FastifyInstance, { host, port }: Settings): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      throw new ConfigError(`Port ${port} is taken. Give another with --port, or 0 for one that is free.`);
    throw new ConfigError(`Cannot listen on ${host}:${port}: ${message}.`);
  }
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** Ends a server in order at the first Ctrl-C or SIGTERM, which is its normal end, and at once at the second. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(INTERRUPTED);
      process.stderr.write('Stopping: answers that have begun are finished. Again to stop at once.\n');
      controller.abort();
    });
  return controller.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
