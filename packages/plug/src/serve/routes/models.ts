// /v1/models: which models there are, loading finished runs, and unloading them again.
import { posix } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { OpenPlugError } from '../../errors.js';
import type { ServerContext } from '../context.js';
import { RequestError } from '../errors.js';
import type { ServedModel } from '../model-pool.js';
import { type FoundRun, findRun } from '../runs-folder.js';
import {
  type LoadModelRequest,
  loadModelSchema,
  modelListSchema,
  modelSchema,
  type UnloadModelRequest,
  unloadedSchema,
  unloadModelSchema,
} from '../schemas.js';

/** @param runsFolder where runs lie that clients may load; undefined: none may be */
export function modelRoutes(
  app: FastifyInstance,
  context: ServerContext,
  runsFolder: string | undefined,
): void {
  const { pool } = context;

  const listing = { response: { 200: modelListSchema }, tags: ['OpenAI'] };
  app.get('/v1/models', { schema: listing }, () => ({ object: 'list', data: pool.models.map(modelObject) }));

  const loading = { body: loadModelSchema, response: { 200: modelSchema }, tags: ['PLUG'] };
  app.post('/v1/models/load', { schema: loading }, async (request, reply) => {
    const body = request.body as LoadModelRequest;
    if (runsFolder === undefined)
      throw new RequestError(403, 'This server loads no runs.', { code: 'outside_runs', param: 'folder' });
    const run = findRun(runsFolder, body.folder);
    const name = body.model ?? posix.basename(run.name);
    const known = pool.find(name);
    if (known && known.run !== run.name)
      throw new RequestError(409, `Another model has the name "${name}" already. Give another as model.`, {
        code: 'name_taken',
        param: 'model',
      });
    const model = known ?? added(name, run);
    const signal = context.signalOf(reply);
    try {
      (await pool.acquire(model, signal)).release();
    } catch (error) {
      if (signal.aborted) throw error; // it may be loaded later
      await pool.forget(model);
      throw new RequestError(400, (error as Error).message, { code: 'cannot_load', param: 'folder' });
    }
    return modelObject(model);
  });

  const unloading = { body: unloadModelSchema, response: { 200: unloadedSchema }, tags: ['PLUG'] };
  app.post('/v1/models/unload', { schema: unloading }, async (request) => {
    const model = context.model((request.body as UnloadModelRequest).model);
    if (model.run === undefined)
      throw new RequestError(409, `Model "${model.name}" was named when the server was started, and stays.`, {
        code: 'model_stays',
        param: 'model',
      });
    await pool.forget(model);
    return { id: model.name, object: 'model' as const, unloaded: true as const };
  });

  function added(name: string, run: FoundRun): ServedModel {
    try {
      return pool.add(name, run.model, run.name);
    } catch (error) {
      if (!(error instanceof OpenPlugError)) throw error;
      throw new RequestError(400, error.message, { code: 'cannot_load', param: 'folder' });
    }
  }

  function modelObject({ name, hosted, run, info }: ServedModel) {
    return {
      id: name,
      object: 'model' as const,
      created: 0,
      owned_by: 'openplug' as const,
      loaded: hosted !== undefined,
      ready: hosted?.isReady ?? false,
      ...(run !== undefined && { run }),
      maxNewTokens: context.limits.maxNewTokens,
      ...info,
    };
  }
}
